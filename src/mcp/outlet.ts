import type { AppError } from '../lib/errors.ts'
import type { HttpExchange } from '../lib/http-exchange.ts'
import type { Listed } from '../lib/roster.ts'
import { frameSse } from '../lib/sse.ts'
import { renderFailure, rpcOf } from './failure.ts'
import { renderRpcError } from './message.ts'

type Headers = Readonly<Record<string, string>>

const JSON_HEADERS = { 'content-type': 'application/json', 'cache-control': 'no-store' }
const SSE_HEADERS = { 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform', 'x-accel-buffering': 'no' }
const COMMENT = Buffer.from(': keep-alive\n\n')

/**
 * Where the messages for one POST or GET go: a single JSON answer, or a stream of events once there is more to say.
 * After `end` nothing is written any more.
 */
export class Outlet implements Listed {
  place = -1
  readonly #exchange: HttpExchange
  readonly #headers: Headers
  #state: 'empty' | 'streaming' | 'ended' = 'empty'
  #isEvents = false
  /** Present while a write waits for a slow client. */
  #waiting: PromiseWithResolvers<void> | undefined
  #isReleased = false

  constructor(exchange: HttpExchange, headers: Headers) {
    this.#exchange = exchange
    this.#headers = headers
  }

  get state(): 'empty' | 'streaming' | 'ended' {
    return this.#state
  }

  /** The whole answer at once. */
  json(status: number, bytes: Uint8Array, headers: Headers = {}): void {
    if (this.#state !== 'empty') return
    this.#state = 'ended'
    const length = { 'content-length': String(bytes.byteLength) }
    this.#exchange.answer.head(status, { ...JSON_HEADERS, ...this.#headers, ...headers, ...length })
    this.#exchange.answer.end(bytes)
  }

  /** An answer without a body. */
  empty(status: number): void {
    if (this.#state !== 'empty') return
    this.#state = 'ended'
    this.#exchange.answer.head(status, { 'content-length': '0', ...this.#headers })
    this.#exchange.answer.end()
  }

  /** The error as the answer to the request with this id, in whatever form is still possible. */
  async fail(error: AppError, id: string | undefined): Promise<void> {
    if (this.#state === 'empty') {
      const { status, bytes, headers } = renderFailure(error, id)
      return this.json(status, bytes, status === 405 ? { ...headers, allow: 'GET, POST, DELETE' } : headers)
    }
    if (!this.#isEvents) return this.abort(error.message)
    await this.write(frameSse({ data: renderRpcError(id, rpcOf(error), error.message, error.details?.['data']).toString('utf8') }))
    this.end()
  }

  /** Begins a stream of events, or of one large JSON message. */
  open(kind: 'events' | 'json'): void {
    if (this.#state !== 'empty') return
    this.#state = 'streaming'
    this.#isEvents = kind === 'events'
    this.#exchange.answer.head(200, { ...(kind === 'events' ? SSE_HEADERS : JSON_HEADERS), ...this.#headers })
  }

  /** Waits while the client is slower than the server, so that nothing piles up here. */
  async write(chunk: Uint8Array): Promise<void> {
    if (this.#state !== 'streaming') return
    if (this.#exchange.answer.write(chunk) || this.#isReleased) return
    this.#waiting ??= Promise.withResolvers()
    await Promise.race([this.#exchange.answer.drained(), this.#waiting.promise])
    this.#waiting = undefined
  }

  /** Waits for a slow client no longer: the end is near. */
  release(): void {
    this.#isReleased = true
    this.#waiting?.resolve()
  }

  end(): void {
    if (this.#state !== 'streaming') return
    this.#state = 'ended'
    this.#exchange.answer.end()
  }

  /** Shows the client that what it has is not all. */
  abort(reason: string): void {
    if (this.#state !== 'streaming') return
    this.#state = 'ended'
    this.#exchange.answer.abort(reason)
  }

  /** A comment that keeps idle proxies from closing an event stream; not waited for. */
  keepAlive(): void {
    if (this.#state === 'streaming' && this.#isEvents) this.#exchange.answer.write(COMMENT)
  }

  /** Says why an event stream without a request of its own ends; for people who look at the stream. */
  explain(reason: string): void {
    if (this.#state === 'streaming' && this.#isEvents)
      this.#exchange.answer.write(Buffer.from(`: ${reason.replaceAll(/[\r\n]+/g, ' ')}\n\n`))
  }
}

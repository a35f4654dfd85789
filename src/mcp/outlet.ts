import { type ByteBuffer, createByteBuffer } from '../lib/byte-buffer.ts'
import type { AppError } from '../lib/errors.ts'
import type { HttpExchange } from '../lib/http-exchange.ts'
import type { Listed } from '../lib/roster.ts'
import { frameSse } from '../lib/sse.ts'
import { renderFailure, rpcOf } from './failure.ts'
import { renderRpcError } from './message.ts'
import type { ReplayStream } from './replay-stream.ts'

type Headers = Readonly<Record<string, string>>

const JSON_HEADERS = { 'content-type': 'application/json', 'cache-control': 'no-store' }
const SSE_HEADERS = { 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform', 'x-accel-buffering': 'no' }
/** Sweeps, one a second, without a word on an answer: long enough that few answers come after it, far shorter than proxies have patience. */
const SILENT_SWEEPS = 5
/** Of an answer that comes in pieces and has to become one event. */
const MAX_COLLECTED = 16 * 1024 * 1024
const COMMENT = Buffer.from(': keep-alive\n\n')

/**
 * Where the messages for one POST or GET go: a single JSON answer, or a stream of events once there is more to say.
 * After `end` nothing is written any more.
 */
export class Outlet implements Listed {
  place = -1
  /** Of the exchange only what answers it, once it is a stream: its headers and body would be kept for as long as that is open. */
  #exchange: Pick<HttpExchange, 'answer' | 'signal'> & Partial<HttpExchange>
  readonly #isElement: boolean
  readonly #headers: Headers | undefined
  #state: 'empty' | 'streaming' | 'ended' = 'empty'
  #isEvents = false
  /** Present while a write waits for a slow client. */
  #waiting: PromiseWithResolvers<void> | undefined
  #isReleased = false
  /** Knows where the events go, and keeps them for a client that loses this connection. */
  #kept: ReplayStream | undefined
  /** Negative while nothing says that an answer will come. */
  #silentSweeps = -1
  /** Of a JSON answer on an event stream. */
  #collected: ByteBuffer | undefined

  constructor(exchange: HttpExchange, headers?: Headers) {
    this.#exchange = exchange
    this.#isElement = 'isElement' in exchange
    this.#headers = headers
  }

  get state(): 'empty' | 'streaming' | 'ended' {
    return this.#state
  }

  /** Whether the client went away. */
  get isGone(): boolean {
    return this.#exchange.signal.aborted
  }

  /** Whether its events are a stream of their own, not part of the answer to a batch. */
  get isWhole(): boolean {
    return !this.#isElement
  }

  /** The whole answer at once. */
  json(status: number, bytes: Uint8Array, headers?: Headers): void {
    if (this.#kept) return this.#sayLast(bytes)
    if (this.#state !== 'empty') return
    this.#state = 'ended'
    const { 'content-type': type, 'cache-control': cache } = JSON_HEADERS
    const usual = { 'content-type': type, 'cache-control': cache, 'content-length': String(bytes.byteLength) }
    this.#exchange.answer.head(status, this.#headers || headers ? { ...usual, ...this.#headers, ...headers } : usual)
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
    await this.#answer(renderRpcError(id, rpcOf(error), error.message, error.details?.['data']))
  }

  /** An answer that the gateway gives, in whatever form is still possible. */
  async conclude(bytes: Buffer): Promise<void> {
    if (this.#state === 'empty') return this.json(200, bytes)
    if (this.#isEvents) await this.#answer(bytes)
  }

  async #answer(bytes: Buffer): Promise<void> {
    this.#collected = undefined
    const data = bytes.toString('utf8')
    await (this.#kept ? this.#kept.say(data) : this.write(frameSse({ data })))
    this.end()
  }

  /** Begins a stream of events, or of one large JSON message, whose length may be known. */
  open(kind: 'events' | 'json', length?: number): void {
    if (kind === 'json' && this.#kept) this.#collected ??= createByteBuffer(MAX_COLLECTED, 'an answer on an event stream')
    if (this.#state !== 'empty') return
    this.#state = 'streaming'
    this.#isEvents = kind === 'events'
    const counted = length !== undefined && { 'content-length': String(length) }
    this.#exchange.answer.head(200, { ...(kind === 'events' ? SSE_HEADERS : JSON_HEADERS), ...counted, ...this.#headers })
    this.#exchange = { answer: this.#exchange.answer, signal: this.#exchange.signal }
  }

  /** Where the events go, when they are kept. */
  get kept(): ReplayStream | undefined {
    return this.#kept
  }

  /** The events of this stream go through another, which outlives the connection and ends with `end`. */
  keepIn(stream: ReplayStream): void {
    this.#kept = stream
  }

  /** Ends the connection alone: its client has come back on another, to which the rest of the stream goes. */
  handOver(): void {
    this.release()
    this.#finish()
  }

  /** Waits while the client is slower than the server, so that nothing piles up here. */
  async write(chunk: Uint8Array): Promise<void> {
    if (this.#collected) return this.#collect(this.#collected, chunk)
    if (this.#state !== 'streaming') return
    if (this.#exchange.answer.write(chunk) || this.#isReleased) return
    this.#waiting ??= Promise.withResolvers()
    await Promise.race([this.#exchange.answer.drained(), this.#waiting.promise])
    this.#waiting = undefined
  }

  /** Nothing that was written is held by anything here any more. False where that is not known. */
  get isFlushed(): boolean {
    return !this.#collected && this.#exchange.answer.isFlushed === true
  }

  /** Waits for a slow client no longer: the end is near. */
  release(): void {
    this.#isReleased = true
    this.#waiting?.resolve()
  }

  end(): void {
    const collected = this.#collected
    this.#collected = undefined
    if (collected) return this.#sayLast(collected.take())
    this.#kept?.end()
    this.#finish()
  }

  /** From now on everything that is sent to the client comes through here, an answer at the end. */
  expectAnswer(): void {
    this.#silentSweeps = 0
  }

  /** Once a second: whether a client that takes events has been waiting for so long that it should get something to come back with. */
  sweep(): boolean {
    if (this.#silentSweeps < 0 || this.#state !== 'empty' || !this.isWhole) return false
    this.#silentSweeps += 1
    return this.#silentSweeps > SILENT_SWEEPS && /\btext\/event-stream\b|\*\/\*/.test(this.#exchange.headers?.['accept'] ?? '')
  }

  #sayLast(bytes: Uint8Array): void {
    void this.#kept?.say(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'))
    this.end()
  }

  #collect(collected: ByteBuffer, chunk: Uint8Array): void {
    try {
      collected.append(chunk)
    } catch (thrown) {
      this.#collected = undefined
      throw thrown
    }
  }

  #finish(): void {
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

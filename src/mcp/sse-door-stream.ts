import { AppError } from '../lib/errors.ts'
import type { Answer, HttpExchange } from '../lib/http-exchange.ts'
import type { Logger } from '../lib/log.ts'
import { frameSse } from '../lib/sse.ts'
import { isLegacy } from './eras/revisions.ts'
import { fieldsOf, findRequestId } from './message.ts'
import { createSseAnswer } from './sse-door-answer.ts'
import type { SseDoorLimits } from './sse-door-limits.ts'
import { SseDoorWriter } from './sse-door-writer.ts'

export interface SseDoorOptions<C> {
  /** Answers the exchanges of streamable HTTP, and never throws. */
  serve(exchange: HttpExchange, caller: C): Promise<void>
  /** Whom a stream belongs to. */
  ownerOf(caller: C): string
  /** False for a caller who may not be here at all; `serve` refuses it then. */
  admits(caller: C): boolean
  /** Why a caller may not keep a stream; undefined when it may. */
  reasonToLeave(caller: C): string | undefined
  /** An id nobody can guess. */
  token(): string
  now(): number
  log: Logger
  limits?: Partial<SseDoorLimits>
}

export interface SseDoorStreamOptions<C> extends Omit<SseDoorOptions<C>, 'limits'> {
  limits: SseDoorLimits
  /** The GET that asked for the stream. */
  exchange: HttpExchange
  caller: C
  owner: string
}

const SESSION = 'mcp-session-id'
const VERSION = 'mcp-protocol-version'
const COMMENT = Buffer.from(': keep-alive\n\n')

/** One event stream of a client, and the session at the endpoint that its messages belong to. */
export class SseDoorStream<C> {
  readonly owner: string
  readonly #options: SseDoorStreamOptions<C>
  readonly #writer: SseDoorWriter
  readonly #over = Promise.withResolvers<void>()
  /** Fires when the client's stream ended: internal exchanges end with it. */
  readonly #ending = new AbortController()
  readonly #serving = new Set<Promise<void>>()
  readonly #openedAt: number
  #bytesUnderWay = 0
  /** Of answers that are not whole yet. */
  #bytesHeld = 0
  #session: string | undefined
  #revision: string | undefined
  /** Whether the endpoint's own stream is open, or not offered. */
  #listening: 'no' | 'open' | 'never' = 'no'
  #listenAt = 0

  constructor(options: SseDoorStreamOptions<C>) {
    this.#options = options
    this.owner = options.owner
    this.#openedAt = options.now()
    const { maxBufferedBytes } = options.limits
    this.#writer = new SseDoorWriter(options.exchange.answer, maxBufferedBytes, () => this.#stop())
  }

  /** Tells the client where to post; settles when the stream and its session are over. */
  async run(endpoint: string): Promise<void> {
    const { exchange } = this.#options
    const onGone = (): void => this.#stop()
    exchange.signal.addEventListener('abort', onGone, { once: true })
    exchange.answer.head(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
    })
    this.#writer.write(frameSse({ event: 'endpoint', data: endpoint }))
    await this.#over.promise
    exchange.signal.removeEventListener('abort', onGone)
  }

  /**
   * Takes a message; what it is answered comes on the stream.
   * @throws AppError resource_exhausted when too much is under way, not_found when the stream has just ended.
   */
  post(exchange: HttpExchange, caller: C): void {
    const { maxUnderWay, maxUnderWayBytes } = this.#options.limits
    if (this.#ending.signal.aborted) throw new AppError('not_found', 'the event stream has ended', { details: { rpc: -32001 } })
    const bytes = exchange.body.byteLength
    if (this.#serving.size >= maxUnderWay || this.#bytesUnderWay + bytes > maxUnderWayBytes)
      throw new AppError('resource_exhausted', 'too many messages of this event stream have no answer yet: wait')
    this.#bytesUnderWay += bytes
    this.#track(this.#serve(exchange, caller).finally(() => (this.#bytesUnderWay -= bytes)))
  }

  /** Unless the caller may not stay. */
  keepAlive(): void {
    if (!this.#ending.signal.aborted && this.#mayStay()) this.#writer.write(COMMENT)
  }

  sweep(now: number): void {
    if (this.#ending.signal.aborted) return
    const mustListen = this.#session !== undefined && this.#listening === 'no' && now >= this.#listenAt
    if (mustListen && !this.#mayStay()) return
    if (this.#session === undefined && this.#serving.size === 0 && now - this.#openedAt >= this.#options.limits.silentMs)
      return void this.end('nothing was initialized')
    if (mustListen && this.#session !== undefined) this.#track(this.#listen(this.#session))
  }

  #mayStay(): boolean {
    const reason = this.#options.reasonToLeave(this.#options.caller)
    if (reason !== undefined) void this.end(reason)
    return reason === undefined
  }

  /** Ends the stream, whose session is over already or about to be; the client finds the reason in it. */
  async end(reason: string): Promise<void> {
    this.#session = undefined
    this.#writer.end(reason)
    this.#stop()
    await this.#over.promise
  }

  /** The client went away: so does its session. */
  #stop(): void {
    if (this.#ending.signal.aborted) return
    this.#ending.abort()
    void this.#finish()
  }

  async #finish(): Promise<void> {
    await this.#forget(this.#session)
    // A session may yet be opened by what is under way.
    while (this.#serving.size > 0) await Promise.all(this.#serving)
    this.#writer.end('')
    this.#over.resolve()
  }

  #track(work: Promise<void>): void {
    const tracked = work
      .catch((error: unknown) => this.#options.log.warn('a message of an event stream was not served', { error: String(error) }))
      .finally(() => this.#serving.delete(tracked))
    this.#serving.add(tracked)
  }

  async #serve(exchange: HttpExchange, caller: C): Promise<void> {
    const requestId = findRequestId(exchange.body)
    const session = this.#session
    let opened: string | undefined
    let status = 0
    let held = 0
    const answer = createSseAnswer(this.#writer, {
      requestId,
      maxBytes: this.#options.limits.maxMessageBytes,
      hasRoom: (bytes) => {
        held += bytes
        this.#bytesHeld += bytes
        return this.#bytesHeld <= this.#options.limits.maxBufferedBytes
      },
      onHead: (given, headers) => {
        status = given
        if (given !== 200 || headers[SESSION] === undefined) return
        opened = headers[SESSION]
        this.#adopt(opened)
      },
      onMessage: (data) => {
        if (opened !== undefined && this.#session === opened) this.#revision ??= revisionOf(data)
      },
    })
    const headers = { ...exchange.headers, accept: 'application/json, text/event-stream', ...this.#sessionHeaders(exchange) }
    await this.#options
      .serve({ ...exchange, headers, signal: this.#ending.signal, answer }, caller)
      .finally(() => (this.#bytesHeld -= held))
    if (this.#ending.signal.aborted) return
    if (opened !== undefined && this.#revision !== undefined && this.#listening === 'no') this.#track(this.#listen(opened))
    // The endpoint does not know the session any more (MCP 2025-11-25, basic/transports): the client has to begin anew.
    if (status === 404 && session !== undefined && session === this.#session) void this.end('the MCP session has ended')
  }

  /** The session of the stream is the one that its last `initialize` opened. */
  #adopt(session: string): void {
    const before = this.#session
    this.#session = session
    this.#revision = undefined
    this.#listening = 'no'
    if (before !== undefined && before !== session) this.#track(this.#forget(before))
    if (this.#ending.signal.aborted) this.#track(this.#forget(session))
  }

  /** Messages outside requests, as they come. */
  async #listen(session: string): Promise<void> {
    this.#listening = 'open'
    let status = 0
    const answer = createSseAnswer(this.#writer, {
      requestId: undefined,
      maxBytes: this.#options.limits.maxMessageBytes,
      hasRoom: () => true,
      onHead: (given) => (status = given),
      onMessage: () => undefined,
    })
    const over = Promise.withResolvers<void>()
    await this.#internal('GET', session, { answer: told(answer, over.resolve), signal: this.#ending.signal })
    // Whoever serves a stream need not stay with it until its end.
    if (!this.#ending.signal.aborted && status === 200) await over.promise
    if (this.#ending.signal.aborted || this.#session !== session) return
    if (status === 404) return void this.end('the MCP session has ended')
    this.#listening = status === 405 ? 'never' : 'no'
    this.#listenAt = this.#options.now() + (status === 200 ? 0 : this.#options.limits.keepAliveMs)
  }

  async #forget(session: string | undefined): Promise<void> {
    if (session === undefined) return
    const ignored = {
      head: () => undefined,
      write: () => true,
      drained: () => Promise.resolve(),
      end: () => undefined,
      abort: () => undefined,
    }
    await this.#internal('DELETE', session, { answer: ignored, signal: new AbortController().signal })
  }

  #internal(method: string, session: string, more: Pick<HttpExchange, 'answer' | 'signal'>): Promise<void> {
    const { exchange, caller, serve } = this.#options
    const { accept: _, [VERSION]: __, 'last-event-id': ___, ...kept } = exchange.headers
    const headers = { ...kept, accept: 'text/event-stream', [SESSION]: session, ...this.#versionHeader() }
    return serve({ ...exchange, method, headers, body: Buffer.alloc(0), ...more }, caller)
  }

  #sessionHeaders({ headers }: HttpExchange): Record<string, string> {
    if (this.#session === undefined) return {}
    return { [SESSION]: this.#session, ...(headers[VERSION] === undefined && this.#versionHeader()) }
  }

  /** Clients of this transport need not name the revision; servers of streamable HTTP want to read it (2025-06-18, basic/transports). */
  #versionHeader(): Record<string, string> {
    return this.#revision === undefined || !isLegacy(this.#revision) ? {} : { [VERSION]: this.#revision }
  }
}

function revisionOf(data: string): string | undefined {
  try {
    const revision = fieldsOf(fieldsOf(JSON.parse(data))?.['result'])?.['protocolVersion']
    return typeof revision === 'string' ? revision : undefined
  } catch {
    return undefined // no JSON: it names none
  }
}

/** The same answer; `onOver` is told of its end. */
function told(answer: Answer, onOver: () => void): Answer {
  return {
    head: (status, headers) => answer.head(status, headers),
    write: (chunk) => answer.write(chunk),
    drained: () => answer.drained(),
    end: (chunk) => {
      answer.end(chunk)
      onOver()
    },
    abort: (reason) => {
      answer.abort(reason)
      onOver()
    },
  }
}

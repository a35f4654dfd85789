import { AppError } from '../lib/errors.ts'
import type { HttpExchange } from '../lib/http-exchange.ts'
import { ByOwner } from './by-owner.ts'
import { Rounds } from './rounds.ts'
import { SSE_DOOR_LIMITS, type SseDoorLimits } from './sse-door-limits.ts'
import { type SseDoorOptions, SseDoorStream } from './sse-door-stream.ts'

const STEP_MS = 100
/** How often a stream is looked at. */
const CHECK_MS = 1000

/**
 * The HTTP+SSE transport of 2024-11-05 in front of an endpoint of streamable HTTP: a client that asks for an event stream without
 * naming a session or a revision is told where to post, and gets the answers to its posts on that stream. What it posts is judged
 * and recorded by the endpoint, as anything else. The end of the stream ends the session.
 */
export class SseDoor<C> {
  readonly #options: SseDoorOptions<C>
  readonly #limits: SseDoorLimits
  readonly #streams = new Map<string, SseDoorStream<C>>()
  readonly #byOwner = new ByOwner<SseDoorStream<C>>()
  readonly #checks: Rounds<SseDoorStream<C>>
  readonly #keepAlives: Rounds<SseDoorStream<C>>
  /** Runs while there is a stream. */
  #timer: NodeJS.Timeout | undefined
  #closed: string | undefined

  constructor(options: SseDoorOptions<C>) {
    this.#options = options
    this.#limits = { ...SSE_DOOR_LIMITS, ...options.limits }
    const now = options.now()
    this.#checks = new Rounds(this.#streams, CHECK_MS, now)
    this.#keepAlives = new Rounds(this.#streams, this.#limits.keepAliveMs, now)
  }

  /**
   * Answers an exchange, of either transport. Settles when it is over; for a message of a stream, when it is taken.
   * @throws AppError not_found for a stream that is not the caller's, resource_exhausted for too much at a time.
   */
  serve(exchange: HttpExchange, caller: C): Promise<void> {
    if (opensStream(exchange) && this.#options.admits(caller)) return this.#open(exchange, caller)
    const id = exchange.method === 'POST' ? streamIdOf(exchange.path) : undefined
    return id === undefined ? this.#options.serve(exchange, caller) : this.#post(exchange, caller, id)
  }

  async #post(exchange: HttpExchange, caller: C, id: string): Promise<void> {
    const stream = this.#streams.get(id)
    if (!stream || stream.owner !== this.#options.ownerOf(caller)) throw unknownStream()
    stream.post(exchange, caller)
    exchange.answer.head(202, { 'content-length': '0' })
    exchange.answer.end()
  }

  /** What has to be done from time to time, for a few streams at a time; done ten times a second. */
  sweep(): void {
    const now = this.#options.now()
    this.#checks.step(now, (stream) => stream.sweep(now))
    this.#keepAlives.step(now, (stream) => stream.keepAlive())
  }

  /** Ends all streams; their sessions are the endpoint's to end, before. */
  async close(reason: string): Promise<void> {
    this.#closed = reason
    await Promise.all(this.#streams.values().map((stream) => stream.end(reason)))
  }

  async #open(exchange: HttpExchange, caller: C): Promise<void> {
    if (this.#closed !== undefined) throw new AppError('unavailable', this.#closed)
    if (exchange.signal.aborted) return
    const owner = this.#options.ownerOf(caller)
    if (this.#streams.size >= this.#limits.total || this.#byOwner.countOf(owner) >= this.#limits.perOwner)
      throw new AppError('resource_exhausted', 'too many event streams are open here: close one first')
    const id = this.#options.token()
    const stream = new SseDoorStream({ ...this.#options, limits: this.#limits, exchange, caller, owner })
    this.#streams.set(id, stream)
    this.#byOwner.add(stream)
    this.#timer ??= setInterval(() => this.sweep(), STEP_MS).unref()
    try {
      await stream.run(`${pathOf(exchange.path)}?sessionId=${id}`)
    } finally {
      this.#streams.delete(id)
      this.#byOwner.delete(stream)
      if (this.#streams.size === 0) {
        clearInterval(this.#timer)
        this.#timer = undefined
      }
    }
  }
}

/** Streamable HTTP asks for a stream within a session only, and later revisions name themselves (2025-11-25, basic/transports). */
function opensStream({ method, headers }: HttpExchange): boolean {
  return (
    method === 'GET' &&
    headers['mcp-session-id'] === undefined &&
    headers['mcp-protocol-version'] === undefined &&
    /\btext\/event-stream\b/.test(headers['accept'] ?? '')
  )
}

function pathOf(target: string): string {
  return target.split('?', 1)[0] ?? ''
}

function streamIdOf(target: string): string | undefined {
  const query = target.indexOf('?')
  return query === -1 ? undefined : (new URLSearchParams(target.slice(query + 1)).get('sessionId') ?? undefined)
}

function unknownStream(): AppError {
  return new AppError('not_found', 'unknown event stream: open a new one and initialize again', { details: { rpc: -32001 } })
}

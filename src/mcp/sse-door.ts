import { AppError } from '../lib/errors.ts'
import type { HttpExchange } from '../lib/http-exchange.ts'
import { SSE_DOOR_LIMITS, type SseDoorLimits } from './sse-door-limits.ts'
import { type SseDoorOptions, SseDoorStream } from './sse-door-stream.ts'

const SWEEP_MS = 1000

/**
 * The HTTP+SSE transport of 2024-11-05 in front of an endpoint of streamable HTTP: a client that asks for an event stream without
 * naming a session or a revision is told where to post, and gets the answers to its posts on that stream. What it posts is judged
 * and recorded by the endpoint, as anything else. The end of the stream ends the session.
 */
export class SseDoor<C> {
  readonly #options: SseDoorOptions<C>
  readonly #limits: SseDoorLimits
  readonly #streams = new Map<string, SseDoorStream<C>>()
  readonly #timer: NodeJS.Timeout
  #keptAliveAt: number
  #closed: string | undefined

  constructor(options: SseDoorOptions<C>) {
    this.#options = options
    this.#limits = { ...SSE_DOOR_LIMITS, ...options.limits }
    this.#keptAliveAt = options.now()
    this.#timer = setInterval(() => this.sweep(), SWEEP_MS).unref()
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

  /** What has to be done from time to time; done every second. */
  sweep(): void {
    const now = this.#options.now()
    const isDue = now - this.#keptAliveAt >= this.#limits.keepAliveMs
    if (isDue) this.#keptAliveAt = now
    for (const stream of this.#streams.values()) stream.sweep(now, isDue)
  }

  /** Ends all streams; their sessions are the endpoint's to end, before. */
  async close(reason: string): Promise<void> {
    clearInterval(this.#timer)
    this.#closed = reason
    await Promise.all(this.#streams.values().map((stream) => stream.end(reason)))
  }

  async #open(exchange: HttpExchange, caller: C): Promise<void> {
    if (this.#closed !== undefined) throw new AppError('unavailable', this.#closed)
    if (exchange.signal.aborted) return
    const owner = this.#options.ownerOf(caller)
    const own = this.#streams.values().filter((stream) => stream.owner === owner)
    if (this.#streams.size >= this.#limits.total || own.toArray().length >= this.#limits.perOwner)
      throw new AppError('resource_exhausted', 'too many event streams are open here: close one first')
    const id = this.#options.token()
    const stream = new SseDoorStream({ ...this.#options, limits: this.#limits, exchange, caller, owner })
    this.#streams.set(id, stream)
    try {
      await stream.run(`${pathOf(exchange.path)}?sessionId=${id}`)
    } finally {
      this.#streams.delete(id)
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

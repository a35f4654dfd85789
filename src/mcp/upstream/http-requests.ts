import { AppError } from '../../lib/errors.ts'
import { createPool, type Pool } from '../../lib/http-wire/pool.ts'
import { Roster } from '../../lib/roster.ts'
import type { StopSignal } from '../../lib/stopping.ts'
import { Answer } from './http-answer.ts'
import type { AnswerHost, HttpAsk } from './http-answer.ts'
import { tooMany } from './http-fault.ts'
import type { HttpLimits } from './http-limits.ts'
import type { Reply } from './upstream.ts'

export interface HttpRequestsOptions {
  server: string
  origin: URL
  /** Whether the certificate of the server is verified. */
  verify: boolean
  limits: HttpLimits
  now: () => number
}

/** The HTTP requests to one server, over all its sessions: one pool of connections, kept alive, without redirects and without cookies. */
export class HttpRequests {
  readonly #options: HttpRequestsOptions
  readonly #pool: Pool
  /** Under way. */
  readonly #answers = new Roster<Answer>()
  readonly #host: AnswerHost
  readonly #sweeping: NodeJS.Timeout

  constructor(options: HttpRequestsOptions) {
    const { limits, origin, verify, now, server } = options
    const { maxConnections, headersTimeoutMs, connectTimeoutMs, bodyTimeoutMs } = limits
    this.#options = options
    this.#host = { server, now, onOver: (answer) => void this.#answers.delete(answer) }
    this.#pool = createPool({ origin, maxConnections, headersTimeoutMs, connectTimeoutMs, rejectUnauthorized: verify, now })
    // One clock for all connections and bodies: a timer for each would cost more than the request.
    this.#sweeping = setInterval(() => this.#sweep(), Math.min(1000, bodyTimeoutMs / 2, headersTimeoutMs / 2, connectTimeoutMs / 2))
    this.#sweeping.unref()
  }

  /**
   * Sends one request and follows it until its body ended. When `signal` fires it is broken off.
   * @returns fails as `UpstreamSession` does: cancelled, resource_exhausted for too many at a time, or of the server.
   */
  run(ask: HttpAsk, signal?: StopSignal): Promise<Reply> {
    const { server, limits } = this.#options
    if (signal?.aborted) return Promise.reject(new AppError('cancelled', 'the request was cancelled before it was sent'))
    if (this.#answers.size >= limits.maxConnections) return Promise.reject(tooMany(server))
    const answer = new Answer(ask, this.#host, signal)
    this.#answers.add(answer)
    answer.start(this.#pool)
    return answer.reply
  }

  /** Breaks off what is under way for a session. */
  abortAll(owner: object, why: AppError): void {
    for (const answer of this.#answers.list()) if (answer.owner === owner) answer.abort(why)
  }

  /** After the sessions. */
  close(): void {
    clearInterval(this.#sweeping)
    this.#pool.close()
  }

  #sweep(): void {
    const { limits, now, server } = this.#options
    this.#pool.sweep()
    for (const answer of this.#answers.list()) {
      if (answer.quietSince !== undefined && now() - answer.quietSince > limits.bodyTimeoutMs) answer.abort(stalled(server))
    }
  }
}

function stalled(server: string): AppError {
  return new AppError('deadline_exceeded', `MCP server "${server}" stopped in the middle of an answer`, { origin: 'upstream_unreachable' })
}

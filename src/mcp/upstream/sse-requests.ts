import { AppError } from '../../lib/errors.ts'
import { createPool } from '../../lib/http-wire/pool.ts'
import { beginHead } from '../../lib/http-wire/request-head.ts'
import { Roster } from '../../lib/roster.ts'
import { Answer } from './http-answer.ts'
import type { AnswerOptions } from './http-answer.ts'
import { tooMany } from './http-fault.ts'
import type { SseLimits } from './sse-limits.ts'
import type { Reply } from './upstream.ts'

type Headers = Readonly<Record<string, string>>

/** The HTTP requests to one server, each of which fails as those of `UpstreamSession` do. */
export interface SseRequests {
  /** Opens an event stream; it goes on until `signal` fires, or until the server ends it. */
  get(path: string, headers: Headers, signal: AbortSignal): Promise<Reply>
  /** Posts a message; the reply tells whether the server took it. What else it says there is dropped. */
  post(path: string, headers: Headers, body: Buffer, signal: AbortSignal): Promise<Reply>
  close(): Promise<void>
}

export interface SseRequestsOptions {
  server: string
  origin: URL
  /** Whether the certificate of the server is verified. */
  verify: boolean
  limits: SseLimits
  now: () => number
}

/** The only place of this transport that knows an HTTP client: one pool of connections, without redirects and without cookies. */
export function createSseRequests({ server, origin, verify, limits, now }: SseRequestsOptions): SseRequests {
  const pool = createPool({
    origin,
    maxConnections: limits.maxConnections,
    headersTimeoutMs: limits.headersTimeoutMs,
    connectTimeoutMs: limits.connectTimeoutMs,
    rejectUnauthorized: verify,
    now,
  })
  const answers = new Roster<Answer>()
  const sweep = setInterval(
    () => {
      pool.sweep()
      for (const answer of answers.list()) {
        if (answer.quietSince !== undefined && now() - answer.quietSince > limits.bodyTimeoutMs) answer.abort(stalled(server))
      }
    },
    Math.min(1000, limits.bodyTimeoutMs / 2, limits.headersTimeoutMs / 2, limits.connectTimeoutMs / 2),
  )
  sweep.unref()

  const run = (
    { expect, signal }: { expect: AnswerOptions['expect']; signal: AbortSignal },
    { path, method, headers, body }: { path: string; method: 'GET' | 'POST'; headers: Headers; body?: Buffer },
  ): Promise<Reply> => {
    if (signal.aborted) return Promise.reject(closed())
    if (answers.size >= limits.maxConnections) return Promise.reject(tooMany(server))
    const onAbort = (): void => answer.abort(closed())
    const answer = new Answer({
      owner: answers,
      server,
      expect,
      whole: false,
      now,
      onHead: undefined,
      onOver() {
        answers.delete(answer)
        signal.removeEventListener('abort', onAbort)
      },
    })
    answers.add(answer)
    signal.addEventListener('abort', onAbort, { once: true })
    answer.start((receiver) => pool.send({ method, head: beginHead(method, path, origin.host, headers), body }, receiver))
    return answer.reply
  }

  return {
    get: (path, headers, signal) => run({ expect: 'events', signal }, { path, method: 'GET', headers }),
    post: (path, headers, body, signal) => run({ expect: 'nothing', signal }, { path, method: 'POST', headers, body }),
    async close() {
      clearInterval(sweep)
      pool.close()
    },
  }
}

function closed(): AppError {
  return new AppError('cancelled', 'the session was closed')
}

function stalled(server: string): AppError {
  return new AppError('deadline_exceeded', `MCP server "${server}" stopped in the middle of an answer`, { origin: 'upstream_unreachable' })
}

import { Pool } from 'undici'
import { AppError } from '../../lib/errors.ts'
import { createAnswer } from './http-answer.ts'
import type { Answer, AnswerOptions } from './http-answer.ts'
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
  origin: string
  /** Whether the certificate of the server is verified. */
  verify: boolean
  limits: SseLimits
  now: () => number
}

/** The only place of this transport that knows an HTTP client: one pool of connections, without redirects and without cookies. */
export function createSseRequests({ server, origin, verify, limits, now }: SseRequestsOptions): SseRequests {
  const pool = new Pool(origin, {
    connections: limits.maxConnections,
    pipelining: 1,
    allowH2: false,
    headersTimeout: limits.headersTimeoutMs,
    bodyTimeout: 0,
    connectTimeout: limits.connectTimeoutMs,
    connect: { rejectUnauthorized: verify },
  })
  const answers = new Set<Answer>()
  const sweep = setInterval(
    () => {
      for (const answer of answers) {
        if (answer.quietSince !== undefined && now() - answer.quietSince > limits.bodyTimeoutMs) answer.abort(stalled(server))
      }
    },
    Math.min(1000, limits.bodyTimeoutMs / 2),
  )
  sweep.unref()

  const run = (
    { expect, signal }: { expect: AnswerOptions['expect']; signal: AbortSignal },
    request: { path: string; method: 'GET' | 'POST'; headers: Headers; body: Buffer | null },
  ): Promise<Reply> => {
    if (signal.aborted) return Promise.reject(closed())
    if (answers.size >= limits.maxConnections)
      return Promise.reject(
        new AppError('resource_exhausted', `MCP server "${server}" has ${answers.size} requests and streams open already`),
      )
    const onAbort = (): void => answer.abort(closed())
    const answer = createAnswer({
      server,
      expect,
      whole: false,
      now,
      onHeaders: undefined,
      onOver() {
        answers.delete(answer)
        signal.removeEventListener('abort', onAbort)
      },
    })
    answers.add(answer)
    signal.addEventListener('abort', onAbort, { once: true })
    pool.dispatch({ ...request }, answer.handler)
    return answer.reply
  }

  return {
    get: (path, headers, signal) => run({ expect: 'events', signal }, { path, method: 'GET', headers, body: null }),
    post: (path, headers, body, signal) => run({ expect: 'nothing', signal }, { path, method: 'POST', headers, body }),
    async close() {
      clearInterval(sweep)
      await pool.destroy()
    },
  }
}

function closed(): AppError {
  return new AppError('cancelled', 'the session was closed')
}

function stalled(server: string): AppError {
  return new AppError('deadline_exceeded', `MCP server "${server}" stopped in the middle of an answer`, { origin: 'upstream_unreachable' })
}

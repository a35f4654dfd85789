import { AppError } from '../../lib/errors.ts'
import { createPool } from '../../lib/http-wire/pool.ts'
import type { Logger } from '../../lib/log.ts'
import { Roster } from '../../lib/roster.ts'
import { upstreamUrl } from '../../resources/app.ts'
import type { App } from '../../resources/app.ts'
import { headersNow } from './own-headers.ts'
import { checkFraming } from './framing-headers.ts'
import type { Answer } from './http-answer.ts'
import { HTTP_LIMITS } from './http-limits.ts'
import type { HttpLimits } from './http-limits.ts'
import { createHttpSession } from './http-session.ts'
import type { Upstream, UpstreamSession } from './upstream.ts'

export interface HttpDeps {
  now: () => number
  log: Logger
  limits?: Partial<HttpLimits>
}

/** An MCP server behind streamable HTTP: one pool of connections, kept alive, without redirects and without cookies. */
export function createHttpUpstream(app: App, deps: HttpDeps): Upstream {
  const limits = { ...HTTP_LIMITS, ...deps.limits }
  const server = app.metadata.name
  const url = upstreamUrl(app)
  const pool = createPool({
    origin: url,
    maxConnections: limits.maxConnections,
    headersTimeoutMs: limits.headersTimeoutMs,
    connectTimeoutMs: limits.connectTimeoutMs,
    rejectUnauthorized: app.spec.insecure_skip_verify !== true,
    now: deps.now,
  })
  const answers = new Roster<Answer>()
  const sessions = new Set<UpstreamSession>()
  let isClosed = false
  // One clock for all connections and bodies: a timer for each would cost more than the request.
  const sweep = setInterval(
    () => {
      pool.sweep()
      for (const answer of answers.list()) {
        if (answer.quietSince !== undefined && deps.now() - answer.quietSince > limits.bodyTimeoutMs) answer.abort(stalled(server))
      }
    },
    Math.min(1000, limits.bodyTimeoutMs / 2, limits.headersTimeoutMs / 2, limits.connectTimeoutMs / 2),
  )
  sweep.unref()

  return {
    async open(options) {
      if (isClosed) throw new AppError('unavailable', `MCP server "${server}" is no longer served here`)
      checkFraming(server, await headersNow(options.headers))
      const session = createHttpSession({
        server,
        pool,
        answers,
        limits,
        options,
        now: deps.now,
        log: deps.log,
        url,
        onClose: () => sessions.delete(session),
      })
      sessions.add(session)
      return session
    },
    stderrTail: () => [],
    async close() {
      isClosed = true
      await Promise.all(sessions.values().map((session) => session.close()))
      clearInterval(sweep)
      pool.close()
    },
  }
}

function stalled(server: string): AppError {
  return new AppError('deadline_exceeded', `MCP server "${server}" stopped in the middle of an answer`, { origin: 'upstream_unreachable' })
}

import { AppError } from '../../lib/errors.ts'
import { createPool } from '../../lib/http-wire/pool.ts'
import { isSendable } from '../../lib/http-wire/request-head.ts'
import type { Logger } from '../../lib/log.ts'
import { upstreamUrl } from '../../resources/app.ts'
import type { App } from '../../resources/app.ts'
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
  const answers = new Set<Answer>()
  const sessions = new Set<UpstreamSession>()
  let isClosed = false
  // One clock for all connections and bodies: a timer for each would cost more than the request.
  const sweep = setInterval(
    () => {
      pool.sweep()
      for (const answer of answers) {
        if (answer.quietSince !== undefined && deps.now() - answer.quietSince > limits.bodyTimeoutMs) answer.abort(stalled(server))
      }
    },
    Math.min(1000, limits.bodyTimeoutMs / 2, limits.headersTimeoutMs / 2, limits.connectTimeoutMs / 2),
  )
  sweep.unref()

  return {
    async open(options) {
      if (isClosed) throw new AppError('unavailable', `MCP server "${server}" is no longer served here`)
      checkHeaders(server, options.headers)
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

/** These belong to the connection, not to the message (RFC 9110 7.6.1), and could make two messages of one. */
const FRAMING = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'content-length',
  'te',
  'trailer',
  'upgrade',
  'expect',
])

function checkHeaders(server: string, headers: Readonly<Record<string, string>>): void {
  const unsendable = Object.entries(headers).find(([name, value]) => !isSendable(name, value))
  if (unsendable)
    throw new AppError(
      'failed_precondition',
      `MCP server "${server}" sets the header ${JSON.stringify(unsendable[0])}, whose name or value HTTP cannot carry: mend rewrite.headers or the traits in it`,
    )
  const refused = Object.keys(headers).find((name) => FRAMING.has(name.toLowerCase()))
  if (refused)
    throw new AppError(
      'failed_precondition',
      `MCP server "${server}" sets the header ${refused}, which cannot be rewritten: remove it from rewrite.headers`,
    )
}

function stalled(server: string): AppError {
  return new AppError('deadline_exceeded', `MCP server "${server}" stopped in the middle of an answer`, { origin: 'upstream_unreachable' })
}

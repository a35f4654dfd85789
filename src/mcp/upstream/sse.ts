import { AppError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { upstreamUrl } from '../../resources/app.ts'
import type { App } from '../../resources/app.ts'
import { headersNow } from './own-headers.ts'
import { checkFraming } from './framing-headers.ts'
import { HttpRequests } from './http-requests.ts'
import { SSE_LIMITS } from './sse-limits.ts'
import type { SseLimits } from './sse-limits.ts'
import { openSseSession } from './sse-session.ts'
import type { Upstream, UpstreamSession } from './upstream.ts'

export interface SseDeps {
  now: () => number
  log: Logger
  limits?: Partial<SseLimits>
}

/**
 * An MCP server behind the HTTP+SSE transport of 2024-11-05, which later revisions deprecate: one event stream per session for all
 * that the server says, and a POST for each message to it.
 *
 * `open` fails with `unimplemented` for the modern era, `unavailable` when the stream cannot be opened or names no endpoint.
 */
export function createSseUpstream(app: App, deps: SseDeps): Upstream {
  const limits = { ...SSE_LIMITS, ...deps.limits }
  const server = app.metadata.name
  const url = upstreamUrl(app)
  const requests = new HttpRequests({ server, origin: url, verify: app.spec.insecure_skip_verify !== true, limits, now: deps.now })
  const sessions = new Set<UpstreamSession>()
  let isClosed = false

  return {
    async open(options) {
      if (isClosed) throw notServed(server)
      if (options.era === 'modern') throw noModern(server)
      checkFraming(server, await headersNow(options.headers))
      const session = await openSseSession({
        server,
        url,
        requests,
        limits,
        own: options.headers,
        log: deps.log,
        onClose: () => sessions.delete(session),
      })
      if (isClosed) {
        // While the stream was being opened.
        await session.close()
        throw notServed(server)
      }
      sessions.add(session)
      return session
    },
    stderrTail: () => [],
    async close() {
      isClosed = true
      await Promise.all(sessions.values().map((session) => session.close()))
      requests.close()
    },
  }
}

function notServed(server: string): AppError {
  return new AppError('unavailable', `MCP server "${server}" is no longer served here`)
}

function noModern(server: string): AppError {
  return new AppError('unimplemented', `MCP server "${server}" speaks the transport of 2024-11-05, which serves sessions only`)
}

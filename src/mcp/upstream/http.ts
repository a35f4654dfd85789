import { AppError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { upstreamUrl } from '../../resources/app.ts'
import type { App } from '../../resources/app.ts'
import { headersNow } from './own-headers.ts'
import { checkFraming } from './framing-headers.ts'
import { HTTP_LIMITS } from './http-limits.ts'
import type { HttpLimits } from './http-limits.ts'
import { HttpRequests } from './http-requests.ts'
import { HttpSession } from './http-session.ts'
import type { Upstream, UpstreamSession } from './upstream.ts'

export interface HttpDeps {
  now: () => number
  log: Logger
  limits?: Partial<HttpLimits>
}

/** An MCP server behind streamable HTTP. */
export function createHttpUpstream(app: App, deps: HttpDeps): Upstream {
  const limits = { ...HTTP_LIMITS, ...deps.limits }
  const server = app.metadata.name
  const url = upstreamUrl(app)
  const requests = new HttpRequests({ server, origin: url, verify: app.spec.insecure_skip_verify !== true, limits, now: deps.now })
  const sessions = new Set<UpstreamSession>()
  let isClosed = false

  return {
    async open(options) {
      if (isClosed) throw new AppError('unavailable', `MCP server "${server}" is no longer served here`)
      checkFraming(server, await headersNow(options.headers))
      const session = new HttpSession({
        server,
        requests,
        limits,
        options,
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
      requests.close()
    },
  }
}

import { AppError } from '../../lib/errors.ts'
import { HealthRecord } from '../hosting/health.ts'
import { isDemo, transportOf } from '../../resources/app.ts'
import type { App } from '../../resources/app.ts'
import { withCallerMeta } from './caller-words.ts'
import { createDemoUpstream } from './demo.ts'
import type { DemoDeps } from './demo.ts'
import { createHealingUpstream } from './healing.ts'
import { createWatchedUpstream } from './watched.ts'
import { createHttpUpstream } from './http.ts'
import type { HttpDeps } from './http.ts'
import { createSseUpstream } from './sse.ts'
import type { SseDeps } from './sse.ts'
import { createStdioUpstream } from './stdio.ts'
import type { StdioDeps } from './stdio.ts'
import type { Upstream } from './upstream.ts'

/** What is needed to reach any MCP server. */
export interface UpstreamDeps {
  now: () => number
  log: StdioDeps['log']
  demo: DemoDeps
  stdio: Omit<StdioDeps, 'log'>
  http: Omit<HttpDeps, 'log' | 'now'>
  sse?: Omit<SseDeps, 'log' | 'now'>
}

/** How this MCP server is reached, by the scheme of its URI. Nothing is connected or started yet. */
export function createUpstream(app: App, deps: UpstreamDeps): Upstream {
  if (isDemo(app)) return createDemoUpstream(app, deps.demo)
  const health = new HealthRecord({ now: deps.now, random: Math.random })
  return createHealingUpstream(createWatchedUpstream(withWords(createTransport(app, deps, health)), health), {
    server: app.metadata.name,
    now: deps.now,
    log: deps.log,
  })
}

/** Whatever is said to the server, translated or again: its requests say who makes them. */
function withWords(upstream: Upstream): Upstream {
  return {
    ...upstream,
    open: async (options) => {
      const session = await upstream.open(options)
      return options.words ? withCallerMeta(session, options.words) : session
    },
  }
}

function createTransport(app: App, { now, log, stdio, http, sse }: UpstreamDeps, health: HealthRecord): Upstream {
  const transport = transportOf(app)
  if (transport === 'postgres')
    throw new AppError('failed_precondition', 'the MCP server of a database is opened by the agent that has the database')
  if (transport === 'stdio') return createStdioUpstream(app, { log, ...stdio, health })
  if (transport === 'http') return createHttpUpstream(app, { now, log, ...http })
  return createSseUpstream(app, { now, log, ...sse })
}

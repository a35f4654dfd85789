import { AppError } from '../../lib/errors.ts'
import { isDemo, transportOf } from '../../resources/app.ts'
import type { App } from '../../resources/app.ts'
import { createDemoUpstream } from './demo.ts'
import type { DemoDeps } from './demo.ts'
import { createHttpUpstream } from './http.ts'
import type { HttpDeps } from './http.ts'
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
}

/**
 * How this MCP server is reached, by the scheme of its URI. Nothing is connected or started yet.
 *
 * @throws AppError unimplemented for the HTTP+SSE transport of 2024-11-05.
 */
export function createUpstream(app: App, { now, log, demo, stdio, http }: UpstreamDeps): Upstream {
  if (isDemo(app)) return createDemoUpstream(app, demo)
  const transport = transportOf(app)
  if (transport === 'stdio') return createStdioUpstream(app, { log, ...stdio })
  if (transport === 'http') return createHttpUpstream(app, { now, log, ...http })
  throw new AppError('unimplemented', `MCP server "${app.metadata.name}": SSE servers come with a later release; use mcp+http`)
}

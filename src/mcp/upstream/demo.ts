import type { App } from '../../resources/app.ts'
import { buildDemoServer } from './demo-server.ts'
import { createInProcessUpstream } from './in-process.ts'
import type { Upstream } from './upstream.ts'

export interface DemoDeps {
  clusterName: string
}

/** The built-in demo. */
export function createDemoUpstream({ metadata }: App, { clusterName }: DemoDeps): Upstream {
  const about = { clusterName, appName: metadata.name, appDescription: metadata.description ?? '' }
  return createInProcessUpstream(({ caller }) => ({ build: (sdk) => buildDemoServer(sdk, { caller, ...about }) }))
}

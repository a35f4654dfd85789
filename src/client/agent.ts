import { deleteResource, upsertResource } from '../api/resources.ts'
import { AppError } from '../lib/errors.ts'
import type { App } from '../resources/app.ts'
import type { ApiClient } from './call.ts'

export interface AppServerFacts {
  hostId: string
  hostname: string
  version: string
  app: App
  /** RFC 3339. */
  expires: string
}

/** Tells the Auth Service that this agent offers an MCP server until `expires`. */
export async function saveAppServer(api: ApiClient, { hostId, hostname, version, app, expires }: AppServerFacts): Promise<void> {
  const name = appServerName(hostId, app.metadata.name)
  const metadata = { name, labels: app.metadata.labels, expires }
  const resource = { kind: 'app_server', version: 'v3', metadata, spec: { version, hostname, host_id: hostId, app } }
  await api(upsertResource, { kind: 'app_server', name, resource })
}

export async function removeAppServer(api: ApiClient, hostId: string, app: string): Promise<void> {
  try {
    await api(deleteResource, { kind: 'app_server', name: appServerName(hostId, app) })
  } catch (error) {
    if (!(error instanceof AppError && error.code === 'not_found')) throw error // it had expired already
  }
}

/** Several agents may offer one app: the name tells them apart. */
function appServerName(hostId: string, app: string): string {
  return `${app}@${hostId}`
}

import { issueIdentityToken } from '../api/identity-tokens.ts'
import { deleteResource } from '../api/resources.ts'
import type { InputOf } from '../api/route.ts'
import { announceServers } from '../api/servers.ts'
import { AppError } from '../lib/errors.ts'
import type { App } from '../resources/app.ts'
import type { ApiClient } from './call.ts'

export interface AppServerFacts {
  hostId: string
  hostname: string
  version: string
  apps: readonly App[]
  /** RFC 3339. */
  expires: string
}

/** Tells the Auth Service that this agent offers these MCP servers until `expires`, of all or of none; 100 at most. */
export async function saveAppServers(api: ApiClient, { hostId, hostname, version, apps, expires }: AppServerFacts): Promise<void> {
  const items = apps.map((app) => {
    const metadata = { name: appServerName(hostId, app.metadata.name), labels: app.metadata.labels, expires }
    return { kind: 'app_server', version: 'v3', metadata, spec: { version, hostname, host_id: hostId, app } }
  })
  await api(announceServers, { items })
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

export type IdentityTokenType = InputOf<typeof issueIdentityToken>['type']

/** What the MCP server is told of the caller who brought this assertion; `expiresAt` in ms since 1970. */
export async function fetchIdentityToken(
  api: ApiClient,
  wanted: { type: IdentityTokenType; server: string; assertion: string },
): Promise<{ token: string; expiresAt: number }> {
  const { token, expires } = await api(issueIdentityToken, wanted)
  return { token, expiresAt: Date.parse(expires) }
}

import { announceDatabases, signDatabaseUser } from '../api/databases.ts'
import { issueIdentityToken } from '../api/identity-tokens.ts'
import type { RefusedOffer } from '../api/offers.ts'
import { deleteResource } from '../api/resources.ts'
import type { InputOf } from '../api/route.ts'
import { readSecret } from '../api/secrets.ts'
import { announceServers } from '../api/servers.ts'
import { issueUpstreamToken } from '../api/upstream-accounts.ts'
import type { Kind } from '../resources/registry.ts'
import { AppError } from '../lib/errors.ts'
import type { App } from '../resources/app.ts'
import type { Health } from '../resources/app-server.ts'
import type { Database } from '../resources/db.ts'
import type { ApiClient } from './call.ts'

export interface HostFacts {
  hostId: string
  hostname: string
  version: string
  /** RFC 3339. */
  expires: string
}

export interface AppServerFacts extends HostFacts {
  apps: readonly App[]
  /** How each does, by name; undefined for those that nobody watches. */
  healthOf: (app: string) => Health | undefined
}

/** Tells the Auth Service that this agent offers these MCP servers until `expires`; 100 at most. Returns those that are not for this host to offer. */
export async function saveAppServers(
  api: ApiClient,
  { hostId, hostname, version, apps, healthOf, expires }: AppServerFacts,
): Promise<RefusedOffer[]> {
  const items = apps.map((app) => {
    const metadata = { name: serverName(hostId, app.metadata.name), labels: app.metadata.labels, expires }
    const health = healthOf(app.metadata.name)
    return { kind: 'app_server', version: 'v3', metadata, spec: { version, hostname, host_id: hostId, app, ...(health && { health }) } }
  })
  return (await api(announceServers, { items })).refused
}

export async function removeAppServer(api: ApiClient, hostId: string, app: string): Promise<void> {
  await removeHeartbeat(api, 'app_server', serverName(hostId, app))
}

/** The same of databases. */
export async function saveDatabaseServers(
  api: ApiClient,
  { hostId, hostname, version, databases, expires }: HostFacts & { databases: readonly Database[] },
): Promise<RefusedOffer[]> {
  const items = databases.map((database) => {
    const metadata = { name: serverName(hostId, database.metadata.name), labels: database.metadata.labels, expires }
    return { kind: 'db_server', version: 'v3', metadata, spec: { version, hostname, host_id: hostId, database } }
  })
  return (await api(announceDatabases, { items })).refused
}

export async function removeDatabaseServer(api: ApiClient, hostId: string, database: string): Promise<void> {
  await removeHeartbeat(api, 'db_server', serverName(hostId, database))
}

/**
 * A client certificate (PEM, a few minutes) for a database user, whose key stays here: in exchange for the route assertion of whoever wants to
 * connect. @throws AppError permission_denied as roles and locks say.
 */
export async function fetchDatabaseCertificate(
  api: ApiClient,
  wanted: { assertion: string; database: string; user: string; name: string; publicKeyPem: string },
): Promise<string> {
  const { assertion, database, user, name, publicKeyPem } = wanted
  return (await api(signDatabaseUser, { assertion, database, db_user: user, db_name: name, public_key: publicKeyPem })).certificate
}

async function removeHeartbeat(api: ApiClient, kind: Kind, name: string): Promise<void> {
  try {
    await api(deleteResource, { kind, name })
  } catch (error) {
    if (!(error instanceof AppError && error.code === 'not_found')) throw error // it had expired already
  }
}

/** Several agents may offer the same: the name tells them apart. */
function serverName(hostId: string, name: string): string {
  return `${name}@${hostId}`
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

/** The value of a secret that an MCP server needs which this agent offers; `revision` is that of the resource. */
export async function fetchSecret(api: ApiClient, name: string): Promise<{ value: string; revision: string }> {
  return await api(readSecret, { name })
}

/** The token of the caller's own account at the MCP server; `expiresAt` in ms since 1970. Rejects with the detail `account_url` where there is none. */
export async function fetchUpstreamToken(
  api: ApiClient,
  wanted: { server: string; uri: string; assertion: string; refused?: string | undefined },
): Promise<{ id: string; token: string; expiresAt: number }> {
  const { id, token, expires } = await api(issueUpstreamToken, wanted)
  return { id, token, expiresAt: Date.parse(expires) }
}

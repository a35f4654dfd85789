import { issueEndpointToken } from '../api/endpoint-tokens.ts'
import { issueRouteAssertion } from '../api/identity.ts'
import type { OutputOf } from '../api/route.ts'
import { listVisibleServers } from '../api/servers.ts'
import type { ApiClient } from './call.ts'

export type UsableServer = OutputOf<typeof listVisibleServers>['items'][number]

/** The MCP servers the caller may use now, by name. */
export async function fetchServers(api: ApiClient): Promise<UsableServer[]> {
  return (await api(listVisibleServers, {})).items
}

/** A token for one MCP server and the moment it ends (ms since 1970). */
export async function fetchAssertion(api: ApiClient, server: string): Promise<{ token: string; expiresAt: number }> {
  const { assertion, expires } = await api(issueRouteAssertion, { server })
  return { token: assertion, expiresAt: Date.parse(expires) }
}

/** The same for an MCP endpoint, which may be of several servers; with a bot's own certificate, for a client of the bot, with these of its roles. */
export async function fetchEndpointToken(
  api: ApiClient,
  endpoint: string,
  wanted: { roles?: string[] | undefined; ttlSeconds?: number } = {},
): Promise<{ token: string; expiresAt: number }> {
  const { token, expires } = await api(issueEndpointToken, { endpoint, roles: wanted.roles, ttl: wanted.ttlSeconds })
  return { token, expiresAt: Date.parse(expires) }
}

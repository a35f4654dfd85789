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
export async function fetchAssertion(api: ApiClient, server: string): Promise<{ assertion: string; expiresAt: number }> {
  const { assertion, expires } = await api(issueRouteAssertion, { server })
  return { assertion, expiresAt: Date.parse(expires) }
}

import type { OutputOf } from '../api/route.ts'
import { deleteUpstreamAccount, listUpstreamAccounts } from '../api/upstream-accounts.ts'
import type { ApiClient } from './call.ts'

/** At which MCP servers the caller has an account, or another user, or all (`*`); `page` is where one is made, before the server's name. */
export async function fetchUpstreamAccounts(api: ApiClient, user?: string): Promise<OutputOf<typeof listUpstreamAccounts>> {
  return await api(listUpstreamAccounts, { user })
}

export async function removeUpstreamAccount(api: ApiClient, id: string): Promise<void> {
  await api(deleteUpstreamAccount, { id })
}

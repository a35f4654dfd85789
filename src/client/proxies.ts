import { announceTunnels } from '../api/join.ts'
import { deleteResource, upsertResource } from '../api/resources.ts'
import { AppError } from '../lib/errors.ts'
import type { ApiClient } from './call.ts'

export interface ProxyFacts {
  hostId: string
  hostname: string
  version: string
  /** `HOST:PORT`. */
  publicAddresses: readonly string[]
  tunnelAddress: string | undefined
  /** RFC 3339. */
  expires: string
}

/** Tells the cluster that this proxy is there until `expires`: agents dial it. */
export async function saveProxy(api: ApiClient, facts: ProxyFacts): Promise<void> {
  const { hostId, hostname, version, publicAddresses, tunnelAddress, expires } = facts
  const spec = { version, hostname, host_id: hostId, public_addrs: [...publicAddresses], tunnel_addr: tunnelAddress }
  await api(upsertResource, {
    kind: 'proxy',
    name: hostId,
    resource: { kind: 'proxy', version: 'v2', metadata: { name: hostId, expires }, spec },
  })
}

/** Tells the inventory which of these agents, by their host ids, have a tunnel to this proxy now. */
export async function saveTunnels(api: ApiClient, agents: ReadonlyMap<string, boolean>): Promise<void> {
  await api(announceTunnels, { agents: Array.from(agents, ([host_id, is_connected]) => ({ host_id, is_connected })) })
}

/** Agents let go of it. */
export async function removeProxy(api: ApiClient, hostId: string): Promise<void> {
  try {
    await api(deleteResource, { kind: 'proxy', name: hostId })
  } catch (error) {
    if (!(error instanceof AppError && error.code === 'not_found')) throw error // it had expired already
  }
}

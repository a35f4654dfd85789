import type { Host } from '../../../resources/host.ts'
import type { Executor } from '../../../storage/database.ts'
import { upsertResource } from '../../../storage/resources.ts'
import type { AuthContext, KnownCaller } from '../context.ts'

/** What a host says of itself. */
export interface HostFacts {
  hostname: string
  version: string
  services: readonly string[]
  /** To which it has a tunnel; absent where this is not the moment to say so. */
  proxies?: readonly string[] | undefined
}

/** A host that says the same again within that time costs no write. */
const QUIET_MS = 30_000
const MAX_PROXIES = 64

/**
 * Notes that a host was seen, within a transaction, where there is something new. The services in the process of the Auth Service, which
 * never joined, get their entry by this, and keep their id from everybody else.
 */
export async function noteHost(
  context: AuthContext,
  tx: Executor,
  { identity, remoteAddress }: KnownCaller,
  facts: HostFacts,
): Promise<void> {
  const existing = context.live.find('host', identity.name)
  const isLocal = identity.credential === 'local'
  if (identity.kind !== 'host' || identity.roles.includes('Admin') || (!existing && !isLocal)) return
  const known = isLocal && existing?.status.join_method !== 'local' ? undefined : existing
  const services = [...new Set([...(known?.status.services ?? []), ...facts.services])].toSorted()
  const now = context.now()
  const proxies = facts.proxies?.toSorted() ?? known?.status.proxy_ids
  const isSame =
    known?.spec.hostname === facts.hostname &&
    known.status.version === facts.version &&
    known.status.services.join() === services.join() &&
    known.status.proxy_ids?.join() === proxies?.join()
  if (isSame && now - Date.parse(known.status.last_seen) < QUIET_MS) return
  const at = new Date(now).toISOString()
  const host: Host = {
    kind: 'host',
    version: 'v1',
    metadata: known?.metadata ?? { name: identity.name },
    spec: { ...known?.spec, hostname: facts.hostname, roles: known?.spec.roles ?? identity.roles },
    status: {
      ...(known?.status ?? { join_method: 'local', joined_at: at }),
      last_seen: at,
      version: facts.version,
      services,
      remote_addr: remoteAddress,
      ...(proxies && { proxy_ids: proxies }),
    },
  }
  await save(tx, host, now)
}

/** Of an agent, as a proxy sees it. */
export interface SeenAgent {
  host_id: string
  is_connected: boolean
}

/** Notes what a proxy says of its tunnels, within a transaction. It says nothing of other proxies, and not that the host was seen. */
export async function noteTunnels(context: AuthContext, tx: Executor, proxyId: string, agents: readonly SeenAgent[]): Promise<void> {
  for (const { host_id, is_connected } of agents) {
    const host = context.live.find('host', host_id)
    const before = host?.status.proxy_ids ?? []
    if (!host || before.includes(proxyId) === is_connected) continue
    const proxies = is_connected ? [...before, proxyId].toSorted().slice(0, MAX_PROXIES) : before.filter((id) => id !== proxyId)
    await save(tx, { ...host, status: { ...host.status, proxy_ids: proxies } }, context.now())
  }
}

async function save(tx: Executor, host: Host, now: number): Promise<void> {
  const { revision: _, ...metadata } = host.metadata
  await upsertResource(tx, 'host', { ...host, metadata }, now)
}

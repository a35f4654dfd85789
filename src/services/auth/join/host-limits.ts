import type { Host } from '../../../resources/host.ts'
import type { Token } from '../../../resources/token.ts'
import type { Executor } from '../../../storage/database.ts'
import { deleteResource, upsertResource } from '../../../storage/resources.ts'
import type { AuthContext } from '../context.ts'
import { hasExpired } from '../live-resources.ts'
import { findFault } from '../offers.ts'
import { safeTokenName } from './join-tokens.ts'

export type HostLimits = Pick<Host['spec'], 'app_labels' | 'db_labels'>

/**
 * Lets hosts that joined with a token serve what it says now, within the transaction that saves it. What they offer and may no longer is taken
 * off the lists at once; what they may now, they offer with a heartbeat.
 */
export async function limitHosts(context: AuthContext, tx: Executor, token: Token): Promise<void> {
  const { live, now } = context
  const name = safeTokenName(context, token)
  for (const host of live.list('host')) {
    if (host.status.join_token !== name || hasExpired(host, now())) continue
    const limits = limitsBy(token, host.spec)
    if (isSame(limits, host.spec)) continue
    const { app_labels: _, db_labels: __, ...rest } = host.spec
    const { revision: ___, ...metadata } = host.metadata
    const spec = { ...rest, ...limits }
    await upsertResource(tx, 'host', { ...host, metadata, spec }, now())
    for (const offer of [...live.list('app_server'), ...live.list('db_server')])
      if (offer.spec.host_id === metadata.name && findFault(context, offer, spec) !== undefined)
        await deleteResource(tx, offer.kind, offer.metadata.name, now())
  }
}

/** The limits of a token, for a host that has some: of what nobody may join for any more with this token, the host keeps what it had. */
export function limitsBy({ spec }: Token, before: HostLimits): HostLimits {
  const app_labels = spec.roles.includes('App') ? spec.app_labels : before.app_labels
  const db_labels = spec.roles.includes('Db') ? spec.db_labels : before.db_labels
  return { ...(app_labels && { app_labels }), ...(db_labels && { db_labels }) }
}

function isSame(a: HostLimits, b: HostLimits): boolean {
  return JSON.stringify([a.app_labels, a.db_labels]) === JSON.stringify([b.app_labels, b.db_labels])
}

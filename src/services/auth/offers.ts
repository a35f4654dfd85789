import { findOfferFault } from '../../access/offers.ts'
import { labelsOf } from '../../resources/app.ts'
import type { Host } from '../../resources/host.ts'
import type { ResourceOf } from '../../resources/registry.ts'
import type { AuthContext } from './context.ts'

type Live = Pick<AuthContext, 'live'>

/** MCP servers that agents offer and may offer. */
export function listAppOffers(context: Live): ResourceOf<'app_server'>[] {
  return context.live.list('app_server').filter((offer) => findFault(context, offer) === undefined)
}

/** The same of databases. */
export function listDatabaseOffers(context: Live): ResourceOf<'db_server'>[] {
  return context.live.list('db_server').filter((offer) => findFault(context, offer) === undefined)
}

/**
 * Why a host may not offer this, as its join token and what is registered under the name say now; undefined when it may.
 * @param host what limits it, where that is about to be other than it is.
 */
export function findFault(
  { live }: Live,
  offer: ResourceOf<'app_server' | 'db_server'>,
  host: Pick<Host['spec'], 'app_labels' | 'db_labels'> | undefined = live.find('host', offer.spec.host_id)?.spec,
): string | undefined {
  if (offer.kind === 'db_server') {
    const { metadata } = offer.spec.database
    const registered = live.find('db', metadata.name)
    return findOfferFault({
      limits: host?.db_labels,
      registered: registered && (registered.metadata.labels ?? {}),
      offered: metadata.labels ?? {},
    })
  }
  const { app } = offer.spec
  const registered = live.find('app', app.metadata.name)
  return findOfferFault({ limits: host?.app_labels, registered: registered && labelsOf(registered), offered: labelsOf(app) })
}

import type { RefusedOffer } from '../../../api/offers.ts'
import type { OutputOf, ParsedInputOf } from '../../../api/route.ts'
import type { ROUTES } from '../../../api/routes.ts'
import { buildEvent } from '../../../audit/build-event.ts'
import type { AuditEvent } from '../../../audit/event.ts'
import { parseResource } from '../../../resources/registry.ts'
import type { Kind, ResourceOf } from '../../../resources/registry.ts'
import { deleteResource, upsertResource } from '../../../storage/resources.ts'
import { authorize } from '../authorize.ts'
import type { AuthContext, KnownCaller } from '../context.ts'
import { callerFields } from '../event-fields.ts'
import { noteHost } from '../join/inventory.ts'
import type { HostFacts } from '../join/inventory.ts'
import { findFault } from '../offers.ts'
import { prepareResource, resourceEvent } from '../resource-rules.ts'

/** Heartbeats of many servers in one transaction: each would be a wait for the disk of its own. */
export async function announceServers(
  context: AuthContext,
  { items }: ParsedInputOf<typeof ROUTES.announceServers>,
  caller: KnownCaller,
): Promise<OutputOf<typeof ROUTES.announceServers>> {
  return await announce(context, 'app_server', items, caller)
}

/** Creates or replaces heartbeats of one kind, all or none of those that the agent may offer; what it may not is taken off the lists, and says so. */
export async function announce(
  context: AuthContext,
  kind: 'app_server' | 'db_server',
  items: readonly unknown[],
  caller: KnownCaller,
): Promise<{ refused: RefusedOffer[] }> {
  const resources = items.map((item): ResourceOf<'app_server' | 'db_server'> => parseResource(kind, item))
  for (const resource of resources) {
    const existing = context.live.find<'app_server' | 'db_server'>(kind, resource.metadata.name)
    await authorize(context, caller, kind, 'update', existing ?? resource)
    await authorize(context, caller, kind, existing ? 'update' : 'create', resource)
  }
  return await context.journal.commit(async (tx) => {
    const refused: RefusedOffer[] = []
    const events = []
    for (const resource of resources) {
      const existing = context.live.find<'app_server' | 'db_server'>(kind, resource.metadata.name)
      const fault = resource.spec.host_id === caller.identity.name ? findFault(context, resource) : undefined
      if (fault !== undefined) {
        const name = nameOf(resource)
        refused.push({ name, reason: fault })
        if (existing?.spec.host_id === caller.identity.name) await deleteResource(tx, kind, existing.metadata.name, context.now())
        if (context.firstTimes.isFirst(caller.identity.name, `${kind} ${name}`, fault))
          events.push(refusal(context, caller, kind, name, fault))
        continue
      }
      const prepared = prepareResource(context, caller, resource, existing)
      const one = await upsertResource<Kind>(tx, kind, prepared, context.now())
      const event = resourceEvent(context, caller, existing ? 'update' : 'create', one)
      if (event) events.push(event)
    }
    await noteHost(context, tx, caller, factsOf(resources))
    return { output: { refused }, events }
  })
}

/** Of the MCP server or the database that is offered. */
function nameOf({ spec }: ResourceOf<'app_server' | 'db_server'>): string {
  return ('database' in spec ? spec.database : spec.app).metadata.name
}

function refusal(context: AuthContext, caller: KnownCaller, kind: string, name: string, error: string): AuditEvent {
  const server_id = caller.identity.name
  return buildEvent(
    'access.denied',
    { ...callerFields(caller), kind, name, verb: 'create', success: false, error, server_id },
    context.build,
  )
}

/** What a heartbeat says of the host itself. */
function factsOf([first]: readonly ResourceOf<'app_server' | 'db_server'>[]): HostFacts {
  const services = [first?.kind === 'db_server' ? 'db' : 'app']
  return { hostname: first?.spec.hostname ?? '', version: first?.spec.version ?? '', services }
}

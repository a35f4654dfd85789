import type { OutputOf, ParsedInputOf } from '../../../api/route.ts'
import type { ROUTES } from '../../../api/routes.ts'
import { parseResource } from '../../../resources/registry.ts'
import type { Kind, ResourceOf } from '../../../resources/registry.ts'
import { upsertResource } from '../../../storage/resources.ts'
import { authorize } from '../authorize.ts'
import type { AuthContext, KnownCaller } from '../context.ts'
import { noteHost } from '../join/inventory.ts'
import type { HostFacts } from '../join/inventory.ts'
import { prepareResource, resourceEvent } from '../resource-rules.ts'

/** Heartbeats of many servers in one transaction: each would be a wait for the disk of its own. */
export async function announceServers(
  context: AuthContext,
  { items }: ParsedInputOf<typeof ROUTES.announceServers>,
  caller: KnownCaller,
): Promise<OutputOf<typeof ROUTES.announceServers>> {
  return await announce(context, 'app_server', items, caller)
}

/** Creates or replaces heartbeats of one kind, all or none. */
export async function announce(
  context: AuthContext,
  kind: 'app_server' | 'db_server',
  items: readonly unknown[],
  caller: KnownCaller,
): Promise<Record<string, never>> {
  const resources = items.map((item): ResourceOf<'app_server' | 'db_server'> => parseResource(kind, item))
  for (const resource of resources) {
    const existing = context.live.find<'app_server' | 'db_server'>(kind, resource.metadata.name)
    await authorize(context, caller, kind, 'update', existing ?? resource)
    await authorize(context, caller, kind, existing ? 'update' : 'create', resource)
  }
  return await context.journal.commit(async (tx) => {
    const events = []
    for (const resource of resources) {
      const existing = context.live.find<'app_server' | 'db_server'>(kind, resource.metadata.name)
      const prepared = prepareResource(context, caller, resource, existing)
      const one = await upsertResource<Kind>(tx, kind, prepared, context.now())
      const event = resourceEvent(context, caller, existing ? 'update' : 'create', one)
      if (event) events.push(event)
    }
    await noteHost(context, tx, caller, factsOf(resources))
    return { output: {}, events }
  })
}

/** What a heartbeat says of the host itself. */
function factsOf([first]: readonly ResourceOf<'app_server' | 'db_server'>[]): HostFacts {
  const services = [first?.kind === 'db_server' ? 'db' : 'app']
  return { hostname: first?.spec.hostname ?? '', version: first?.spec.version ?? '', services }
}

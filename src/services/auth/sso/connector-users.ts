import { buildEvent } from '../../../audit/build-event.ts'
import type { AuditEvent } from '../../../audit/event.ts'
import { isConnectorKind, originOfUser } from '../../../resources/connector.ts'
import type { ConnectorKind } from '../../../resources/connector.ts'
import type { Kind } from '../../../resources/registry.ts'
import type { Executor } from '../../../storage/database.ts'
import { deleteResource } from '../../../storage/resources.ts'
import { removeAccount, revokeEnded } from '../accounts.ts'
import type { EndedCredentials } from '../accounts.ts'
import type { AuthContext, Caller } from '../context.ts'
import { callerFields } from '../event-fields.ts'
import { hasExpired } from '../live-resources.ts'
import type { AnyResource } from '../resource-rules.ts'
import { isElsewhere } from './connectors.ts'

/** What became of the users of a connector: events to keep, and what tells everybody who watches once that is done. */
export interface EndedUsers {
  events: AuditEvent[]
  publish(): void
}

const NOBODY: EndedUsers = { events: [], publish: () => {} }

/** Removes the users of a connector that is being saved, where it vouches for them no longer: it is disabled, or leads elsewhere now. */
export async function endUsersOfChange(
  context: AuthContext,
  tx: Executor,
  caller: Caller,
  saved: AnyResource,
  existing: AnyResource | undefined,
): Promise<EndedUsers> {
  if (!isConnector(saved) || !existing || !isConnector(existing)) return NOBODY
  if (saved.spec.disabled !== true && !isElsewhere(saved, existing)) return NOBODY
  return await endUsersOf(context, tx, caller, saved)
}

/** Removes the users of a resource that is being deleted, if it is a connector, with all they can come in by. */
export async function endUsersOf(
  context: AuthContext,
  tx: Executor,
  caller: Caller,
  connector: { kind: Kind; metadata: { name: string } },
): Promise<EndedUsers> {
  const { live } = context
  const { kind } = connector
  const { name: id } = connector.metadata
  if (!isConnectorKind(kind)) return NOBODY
  const users = live.list('user').filter((user) => {
    const origin = originOfUser(user)
    return origin?.type === kind && origin.id === id && !hasExpired(user, context.now())
  })
  const ended: EndedCredentials[] = []
  const events: AuditEvent[] = []
  for (const { metadata, spec } of users) {
    const { name } = metadata
    await deleteResource(tx, 'user', name, context.now())
    ended.push(await removeAccount(tx, name))
    events.push(
      buildEvent('user.delete', { ...callerFields(caller), success: true, name, roles: spec.roles, connector: id }, context.build),
    )
  }
  return {
    events,
    publish() {
      for (const { metadata } of users) live.remove('user', metadata.name)
      for (const credentials of ended) revokeEnded(context, credentials)
    },
  }
}

function isConnector(resource: AnyResource): resource is AnyResource & { kind: ConnectorKind } {
  return isConnectorKind(resource.kind)
}

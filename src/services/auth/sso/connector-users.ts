import { buildEvent } from '../../../audit/build-event.ts'
import type { AuditEvent } from '../../../audit/event.ts'
import { isConnectorKind, originOfUser } from '../../../resources/connector.ts'
import type { ConnectorKind } from '../../../resources/connector.ts'
import type { Kind } from '../../../resources/registry.ts'
import type { Executor } from '../../../storage/database.ts'
import { deleteOAuthGrant, listOAuthGrants } from '../../../storage/oauth.ts'
import { deleteResource } from '../../../storage/resources.ts'
import { removeAccount, revokeEnded } from '../accounts.ts'
import type { AuthContext, Caller } from '../context.ts'
import { revoke } from '../changes.ts'
import { callerFields } from '../event-fields.ts'
import { hasExpired } from '../live-resources.ts'
import type { AnyResource } from '../resource-rules.ts'
import { grantOf } from '../oauth/held-grants.ts'
import { vouchesForPeople } from '../oauth/id-jag.ts'
import { isElsewhere } from './connectors.ts'

/**
 * Ends what rests on a connector that is being saved: its users, where it is disabled or leads elsewhere now; what clients have by assertions, where
 * it takes none any more. Returns the events of that.
 */
export async function endUsersOfChange(
  context: AuthContext,
  tx: Executor,
  caller: Caller,
  saved: AnyResource,
  existing: AnyResource | undefined,
): Promise<AuditEvent[]> {
  if (!isConnector(saved) || !existing || !isConnector(existing)) return []
  if (saved.spec.disabled === true || isElsewhere(saved, existing)) return await endUsersOf(context, tx, caller, saved)
  const isOver = existing.kind === 'oidc' && vouchesForPeople(existing) && !(saved.kind === 'oidc' && vouchesForPeople(saved))
  return isOver ? await endAssertedGrants(context, tx, caller, saved.metadata.name) : []
}

/** Ends what an identity provider allowed MCP clients in place of people, who stay. */
async function endAssertedGrants(context: AuthContext, tx: Executor, caller: Caller, connector: string): Promise<AuditEvent[]> {
  const held = (await listOAuthGrants(tx, context.now())).filter((record) => grantOf(context, record).connector === connector)
  const ids = held.flatMap(({ grant_id }) => grant_id ?? [])
  for (const id of ids) await deleteOAuthGrant(tx, id)
  await revoke(context, tx, 'oauth', ids)
  const reason = `connector "${connector}" takes no assertions any more`
  return held.map(({ grant_id, client_id, user: name }) => {
    const about = { name, reason, ...(grant_id !== null && { grant_id }), ...(client_id !== null && { client_id }) }
    return buildEvent('oauth.grant.revoke', { ...callerFields(caller), success: true, ...about }, context.build)
  })
}

/** Removes the users of a resource that is being deleted, if it is a connector, with all they can come in by. Returns the events of that. */
export async function endUsersOf(
  context: AuthContext,
  tx: Executor,
  caller: Caller,
  connector: { kind: Kind; metadata: { name: string } },
): Promise<AuditEvent[]> {
  const { live } = context
  const { kind } = connector
  const { name: id } = connector.metadata
  if (!isConnectorKind(kind)) return []
  const users = live.list('user').filter((user) => {
    const origin = originOfUser(user)
    return origin?.type === kind && origin.id === id && !hasExpired(user, context.now())
  })
  const events: AuditEvent[] = []
  for (const { metadata, spec } of users) {
    const { name } = metadata
    await deleteResource(tx, 'user', name, context.now())
    await revokeEnded(context, tx, await removeAccount(tx, name))
    events.push(
      buildEvent('user.delete', { ...callerFields(caller), success: true, name, roles: spec.roles, connector: id }, context.build),
    )
  }
  return events
}

function isConnector(resource: AnyResource): resource is AnyResource & { kind: ConnectorKind } {
  return isConnectorKind(resource.kind)
}

import { checkVerb } from '../../access/check.ts'
import type { Decision } from '../../access/decision.ts'
import { findLock, lockReason } from '../../access/locks.ts'
import { compileRoles } from '../../access/role-set.ts'
import type { RoleSet } from '../../access/role-set.ts'
import { buildEvent } from '../../audit/build-event.ts'
import { AppError } from '../../lib/errors.ts'
import type { Resource } from '../../resources/envelope.ts'
import type { Identity } from '../../resources/identity.ts'
import type { Kind, ResourceOf } from '../../resources/registry.ts'
import type { Role, Verb } from '../../resources/role.ts'
import type { AuthContext, KnownCaller } from './context.ts'
import { callerFields } from './event-fields.ts'

/** The role resources an identity holds; names without a resource grant nothing. */
export function rolesOf(context: Pick<AuthContext, 'live'>, names: readonly string[]): Role[] {
  return names.map((name) => context.live.find('role', name)).filter((role) => role !== undefined)
}

export function roleSetOf(context: Pick<AuthContext, 'live'>, identity: Identity): RoleSet {
  return compileRoles(rolesOf(context, identity.roles), identity)
}

/** Throws `permission_denied` when a lock stands against the identity; the refusal is in the audit log. */
export async function refuseLocked(context: AuthContext, caller: KnownCaller, what: string): Promise<void> {
  const lock = findLock(context.live.list('lock'), caller.identity, context.now())
  if (!lock) return
  const reason = lockReason(lock)
  await refuse(context, caller, { allow: false, kind: 'lock', reason, by: `lock/${lock.metadata.name}` }, { kind: what, verb: 'use' })
}

/**
 * The resources of a kind that the caller may list, sorted by name: conditions of rules are asked for each.
 * Throws `permission_denied` when the caller may list none, whatever there is.
 */
export async function listPermitted<K extends Kind>(context: AuthContext, caller: KnownCaller, kind: K): Promise<ResourceOf<K>[]> {
  const roleSet = roleSetOf(context, caller.identity)
  const items = context.live.list(kind).filter((item) => checkVerb(roleSet, kind, 'list', item).allow)
  if (items.length === 0) await authorize(context, caller, kind, 'list')
  return items
}

/** Throws `permission_denied` unless the caller's roles allow the verb; the refusal is in the audit log. */
export async function authorize(context: AuthContext, caller: KnownCaller, kind: string, verb: Verb, resource?: Resource): Promise<void> {
  const decision = checkVerb(roleSetOf(context, caller.identity), kind, verb, resource)
  if (!decision.allow) await refuse(context, caller, decision, { kind, verb })
}

/** A refusal that is in the audit log already. */
export class RecordedRefusal extends AppError {
  constructor(reason: string) {
    super('permission_denied', reason)
  }
}

/** Writes down a refusal by a rule that stands in code, not in a role; those that are there already are passed over. */
export async function recordRefusal(context: AuthContext, caller: KnownCaller, what: string, thrown: unknown): Promise<void> {
  if (!(thrown instanceof AppError) || thrown.code !== 'permission_denied' || thrown instanceof RecordedRefusal) return
  const event = { ...callerFields(caller), kind: what, verb: 'use', success: false, error: thrown.message }
  await context.journal.record([buildEvent('access.denied', event, context.build)])
}

async function refuse(
  context: AuthContext,
  caller: KnownCaller,
  decision: Decision & { allow: false },
  what: { kind: string; verb: string },
): Promise<never> {
  const { allow, by, kind, reason } = decision
  await context.journal.record([
    buildEvent(
      'access.denied',
      { ...callerFields(caller), ...what, success: false, error: reason, decision: { allow, by, kind, reason } },
      context.build,
    ),
  ])
  throw new RecordedRefusal(reason)
}

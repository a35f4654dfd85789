import { findLock, lockReason } from '../../../access/locks.ts'
import { maxSessionTtlMs } from '../../../access/session-limits.ts'
import { parseDuration } from '../../../lib/duration.ts'
import { AppError } from '../../../lib/errors.ts'
import { originOfUser } from '../../../resources/connector.ts'
import type { Identity } from '../../../resources/identity.ts'
import { parseResource } from '../../../resources/registry.ts'
import type { User } from '../../../resources/user.ts'
import { findAccountId } from '../../../storage/credentials.ts'
import { upsertResource } from '../../../storage/resources.ts'
import { renewAccount, revokeEnded } from '../accounts.ts'
import { noteReplaced } from '../changes.ts'
import { rolesOf } from '../authorize.ts'
import { authPreference } from '../context.ts'
import type { AuthContext } from '../context.ts'
import { prepareResource, resourceEvent } from '../resource-rules.ts'
import type { Connector } from './connector-client.ts'
import { describeClaims } from './identified.ts'
import type { Identified } from './identified.ts'

/** The roles of a person that there are. */
export function existingRoles(context: Pick<AuthContext, 'live'>, { roles }: Identified): string[] {
  return roles.filter((role) => context.live.find('role', role))
}

export function noRoles(connector: Connector, { user, claimNames }: Identified): AppError {
  return new AppError(
    'permission_denied',
    `your identity provider knows you as ${JSON.stringify(user.slice(0, 255))}, but nothing it says of you gives you a role here: ask your administrator to add you to a group that does (connector "${connector.metadata.name}"). ${describeClaims(claimNames)}`,
  )
}

/**
 * Creates the user that an identity provider vouches for, or brings it up to date: what it says no longer is lost. The user lives as long as a
 * sign-in with these roles may last, and not after `notAfter` (RFC 3339). Returns the id of the account.
 * Throws `permission_denied` for a name that is somebody else's, for one that cannot be a user's, and for a locked user.
 */
export async function savePerson(
  context: AuthContext,
  connector: Connector,
  person: Identified,
  remoteAddress: string,
  notAfter?: string,
): Promise<{ user: string; account: string }> {
  return await context.journal.commit(async (tx) => {
    const { kind, metadata } = connector
    if (context.live.find(kind, metadata.name)?.metadata.revision !== metadata.revision)
      throw new AppError('aborted', `the connector "${metadata.name}" was changed or removed meanwhile: start again`)
    const roles = existingRoles(context, person)
    if (roles.length === 0) throw noRoles(connector, person)
    const caller = { identity: identityOf(person, roles), remoteAddress }
    const lock = findLock(context.live.list('lock'), caller.identity, context.now())
    if (lock) throw new AppError('permission_denied', lockReason(lock))
    const existing = context.live.find('user', person.user)
    const earlier = existing && originOfUser(existing)
    const { name } = connector.metadata
    if (existing && (earlier?.type !== connector.kind || earlier.id !== name))
      throw new AppError(
        'permission_denied',
        `there is a user "${person.user}" already who signs in another way: sign in that way, or ask your administrator`,
      )
    const wanted = describeUser(context, connector, person, roles, notAfter)
    prepared(() => prepareResource(context, caller, wanted, existing), person)
    const saved = await upsertResource(tx, 'user', wanted, context.now())
    // A name that the provider gave to somebody else since brings nothing along of who had it before.
    const isSame = existing !== undefined && earlier?.identity === person.identity
    const ended = isSame ? undefined : await renewAccount(context, tx, person.user)
    // Whoever watches ends the sessions of the one before.
    if (existing && !isSame) await noteReplaced(context, tx, 'user', person.user)
    if (ended) await revokeEnded(context, tx, ended)
    const account = await findAccountId(tx, person.user)
    if (account === undefined) throw new AppError('unavailable', 'your user was deleted a moment ago: start again')
    const event = isSame && hasSameRights(existing, saved) ? undefined : resourceEvent(context, caller, isSame ? 'update' : 'create', saved)
    return { output: { user: person.user, account }, events: event ? [{ ...event, connector: name }] : [] }
  })
}

function describeUser(
  context: AuthContext,
  connector: Connector,
  { user, identity, traits }: Identified,
  roles: string[],
  notAfter: string | undefined,
): User {
  const longest = maxSessionTtlMs(
    rolesOf(context, roles),
    Number.MAX_SAFE_INTEGER,
    parseDuration(authPreference(context).spec.default_session_ttl),
  )
  const now = context.now()
  const ends = Math.min(now + longest, notAfter === undefined ? Infinity : Date.parse(notAfter))
  const origin = { type: connector.kind, id: connector.metadata.name, identity }
  return prepared(
    () =>
      parseResource('user', {
        kind: 'user',
        version: 'v2',
        metadata: { name: user, expires: new Date(ends).toISOString() },
        spec: { roles, traits, created_by: { connector: origin, time: new Date(now).toISOString(), user: { name: 'system' } } },
      }),
    { user },
  )
}

/** What is wrong with a user of an administrator's is, here, wrong with what the provider calls somebody. */
function prepared<T>(make: () => T, { user }: Pick<Identified, 'user'>): T {
  try {
    return make()
  } catch (thrown) {
    if (!(thrown instanceof AppError) || thrown.code !== 'invalid_argument') throw thrown
    const name = JSON.stringify(user.slice(0, 255))
    throw new AppError('permission_denied', `${name}, as your identity provider calls you, cannot be a user here: ${thrown.message}`, {
      cause: thrown,
    })
  }
}

function hasSameRights(one: User, other: User): boolean {
  return JSON.stringify([one.spec.roles, one.spec.traits]) === JSON.stringify([other.spec.roles, other.spec.traits])
}

function identityOf({ user, traits, mfaVerified }: Identified, roles: string[]): Identity {
  return { kind: 'user', name: user, roles, traits, credential: 'certificate', credentialId: '', expiresAt: 0, mfaVerified }
}

import type { KeyObject } from 'node:crypto'
import type { IssuedIdentity } from '../../api/identity.ts'
import { possessionChallenge } from '../../api/possession.ts'
import type { PossessionPurpose } from '../../api/possession.ts'
import { buildEvent } from '../../audit/build-event.ts'
import { findLock, lockReason } from '../../access/locks.ts'
import type { LockFacts } from '../../access/locks.ts'
import { maxSessionTtlMs } from '../../access/session-limits.ts'
import { issueIdentityCertificate } from '../../ca/identity-certificate.ts'
import { parsePublicKey, verifyPossession } from '../../ca/keys.ts'
import { parseDuration } from '../../lib/duration.ts'
import { AppError } from '../../lib/errors.ts'
import type { Identity } from '../../resources/identity.ts'
import { findAccountId } from '../../storage/credentials.ts'
import { authPreference } from './context.ts'
import type { AuthContext } from './context.ts'
import { rolesOf } from './authorize.ts'

/** The key a certificate is asked for; throws `invalid_argument` unless the request proves that its private half is at hand. */
export function parseProvenKey(purpose: PossessionPurpose, user: string, request: { public_key: string; possession: string }): KeyObject {
  const key = parsePublicKey(request.public_key, 'public_key')
  if (!verifyPossession(key, possessionChallenge(purpose, user, request.public_key), request.possession))
    throw new AppError('invalid_argument', 'possession is not a signature of this request by the private key of public_key')
  return key
}

export interface IssueRequest {
  user: string
  key: KeyObject
  ttlSeconds: number | undefined
  mfaVerified: boolean
  /** Of the user as it was when it proved who it is; the one of this moment where nobody had to. */
  account: string | undefined
}

/**
 * A certificate for a user as the user is now. It lives as long as asked for, at most as long as the user's roles and the cluster allow.
 * Throws `permission_denied` with the reason when a lock stands against the user, `not_found` when there is no such user, `unauthenticated`
 * when it was reset since it signed in.
 */
export async function issueForUser(context: AuthContext, request: IssueRequest): Promise<{ issued: IssuedIdentity; serial: string }> {
  const account = await findAccountId(context.db, request.user)
  const user = context.live.find('user', request.user)
  if (!user || account === undefined) throw new AppError('not_found', `user "${request.user}" not found`)
  if (request.account !== undefined && request.account !== account)
    throw new AppError('unauthenticated', 'your sign-in was reset meanwhile: ask your administrator for the new link')
  refuseLockedUser(context, request.user)
  const { clusterName, keys } = context
  const clusterTtlMs = parseDuration(authPreference(context).spec.default_session_ttl)
  const ttlMs = maxSessionTtlMs(rolesOf(context, user.spec.roles), (request.ttlSeconds ?? 0) * 1000, clusterTtlMs)
  const fields = { kind: 'user' as const, name: request.user, roles: user.spec.roles, mfaVerified: request.mfaVerified, account }
  const { certificatePem, serial, expiresAt } = issueIdentityCertificate(keys.user, clusterName, request.key, fields, {
    now: context.now(),
    ttlMs,
  })
  return {
    serial,
    issued: {
      certificate: certificatePem,
      user_authorities: [keys.user.certificatePem],
      host_authorities: [keys.host.certificatePem],
      cluster_name: clusterName,
      user: request.user,
      roles: user.spec.roles,
      expires: new Date(expiresAt).toISOString(),
    },
  }
}

/** Every certificate has its event, however it was asked for. */
export async function recordIssue(
  context: AuthContext,
  by: { user?: string; remote_addr: string },
  { issued, serial }: { issued: IssuedIdentity; serial: string },
): Promise<void> {
  const { user: name, roles, expires } = issued
  const event = { ...by, success: true, name, roles, cert_type: 'user', serial, expires }
  await context.journal.record([buildEvent('cert.create', event, context.build)])
}

/** Throws `permission_denied` with the lock's reason. `facts`: by which second factor the user signs in. */
export function refuseLockedUser(context: AuthContext, name: string, facts: Pick<LockFacts, 'mfaDevice'> = {}): void {
  const user = context.live.find('user', name)
  const identity: Identity = {
    kind: 'user',
    name,
    roles: user?.spec.roles ?? [],
    traits: user?.spec.traits ?? {},
    credential: 'certificate',
    credentialId: '',
    expiresAt: 0,
    mfaVerified: false,
  }
  const lock = findLock(context.live.list('lock'), identity, context.now(), facts)
  if (lock) throw new AppError('permission_denied', lockReason(lock))
}

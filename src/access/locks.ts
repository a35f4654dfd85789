import type { Identity } from '../resources/identity.ts'
import { type Lock, LOCK_TARGETS, type LockTarget } from '../resources/lock.ts'

/** What a lock may target beside the identity itself. */
export interface LockFacts {
  /** The agent that serves the connection. */
  serverId?: string
  /** Host users the connection would use. */
  logins?: readonly string[]
  /** Id of the second factor by which somebody signs in. */
  mfaDevice?: string
}

/**
 * The first lock in force that hits this identity; `now` in milliseconds since 1970. A lock that names several targets hits only
 * who is all of them; one that names a target this product does not know of (a desktop) hits nobody here.
 */
export function findLock(locks: readonly Lock[], identity: Identity, now: number, facts: LockFacts = {}): Lock | undefined {
  return locks.find((lock) => hits(lock, identity, facts) && isInForce(lock, now))
}

/** `lock targeting user:"ana" is in force: MESSAGE`, for the caller. */
export function lockReason(lock: Lock): string {
  const targets = targetsOf(lock).map(([target, value]) => `${target}:${JSON.stringify(value)}`)
  const message = lock.spec.message ? `: ${lock.spec.message}` : ''
  return `lock targeting ${targets.join(', ')} is in force${message}`
}

function targetsOf(lock: Lock): [LockTarget, string][] {
  return LOCK_TARGETS.flatMap((target): [LockTarget, string][] => {
    const value = lock.spec.target[target]
    return value === undefined ? [] : [[target, value]]
  })
}

function hits(lock: Lock, identity: Identity, facts: LockFacts): boolean {
  const targets = targetsOf(lock)
  return targets.length > 0 && targets.every(([target, value]) => isTarget(target, value, identity, facts))
}

function isTarget(target: LockTarget, value: string, identity: Identity, facts: LockFacts): boolean {
  switch (target) {
    case 'user':
      return identity.kind !== 'host' && identity.name === value
    case 'role':
      return identity.roles.includes(value)
    case 'login':
      return facts.logins?.includes(value) ?? false
    case 'access_request':
      return identity.accessRequests?.includes(value) ?? false
    case 'mfa_device':
      return facts.mfaDevice === value
    case 'server_id':
      return facts.serverId === value || (identity.kind === 'host' && identity.name === value)
    case 'bot_instance_id':
      return identity.botInstanceId === value
    case 'join_token':
      return identity.joinToken === value
    default:
      return false
  }
}

function isInForce(lock: Lock, now: number): boolean {
  // A time that cannot be read does not end a lock.
  const over = (expires: string | undefined) => expires !== undefined && Date.parse(expires) <= now
  return !over(lock.spec.expires) && !over(lock.metadata.expires)
}

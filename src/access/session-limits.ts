import { parseDuration } from '../lib/duration.ts'
import type { ClusterAuthPreference } from '../resources/cluster-auth-preference.ts'
import type { Role } from '../resources/role.ts'

/**
 * How long a login lasts, in milliseconds: what was asked for (0: the cluster's default), but no longer than the shortest
 * `max_session_ttl` of the roles; where no role sets one, no longer than the cluster's default.
 */
export function maxSessionTtlMs(roles: readonly Role[], requestedMs: number, clusterDefaultMs: number): number {
  const limit = shortest(roles.map((role) => durationMs(role.spec.options?.max_session_ttl))) || clusterDefaultMs
  return Math.min(requestedMs > 0 ? requestedMs : clusterDefaultMs, limit)
}

/** After how many idle milliseconds a session ends: the shortest of the roles; 0: never. */
export function clientIdleTimeoutMs(roles: readonly Role[]): number {
  return shortest(roles.map((role) => durationMs(role.spec.options?.client_idle_timeout)))
}

/** Whether a session ends with the certificate it began with: one role or the cluster is enough to say so. */
export function disconnectExpired(roles: readonly Role[], cap: ClusterAuthPreference): boolean {
  return cap.spec.disconnect_expired_cert === true || roles.some((role) => role.spec.options?.disconnect_expired_cert === true)
}

/** Zero means that nothing is set. */
function shortest(spans: number[]): number {
  const set = spans.filter((ms) => ms > 0)
  return set.length > 0 ? Math.min(...set) : 0
}

function durationMs(text: string | undefined): number {
  return text === undefined ? 0 : parseDuration(text)
}

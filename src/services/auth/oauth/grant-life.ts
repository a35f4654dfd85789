import { maxSessionTtlMs } from '../../../access/session-limits.ts'
import { parseDuration } from '../../../lib/duration.ts'
import { rolesOf } from '../authorize.ts'
import { authPreference } from '../context.ts'
import type { AuthContext } from '../context.ts'

/** How long a client may act for a user without asking again, in seconds: as long as the user's roles allow any sign-in, at most. */
export function grantSeconds(context: AuthContext, roles: readonly string[]): number {
  const { sessionMs } = context.oauth
  return Math.max(1, Math.floor(maxSessionTtlMs(rolesOf(context, roles), sessionMs, sessionMs) / 1000))
}

/** How long a browser stays signed in, in seconds. */
export function sessionSeconds(context: AuthContext): number {
  return Math.max(1, Math.floor(parseDuration(authPreference(context).spec.default_session_ttl) / 1000))
}

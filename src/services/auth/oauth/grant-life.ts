import { maxSessionTtlMs } from '../../../access/session-limits.ts'
import { rolesOf } from '../authorize.ts'
import type { AuthContext } from '../context.ts'

/** How long a client may act for a user without asking again, in seconds: as long as the user's roles allow any sign-in, at most. */
export function grantSeconds(context: AuthContext, roles: readonly string[]): number {
  const { sessionMs } = context.oauth
  return Math.max(1, Math.floor(maxSessionTtlMs(rolesOf(context, roles), sessionMs, sessionMs) / 1000))
}

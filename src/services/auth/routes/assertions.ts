import { serverAccess } from '../../../access/check.ts'
import type { Denied } from '../../../access/decision.ts'
import type { ParsedInputOf } from '../../../api/route.ts'
import type { ROUTES } from '../../../api/routes.ts'
import { serverViewOf } from '../../../access/server-view.ts'
import { buildEvent } from '../../../audit/build-event.ts'
import { issueAssertion, thumbprintOf } from '../../../ca/assertion.ts'
import { AppError } from '../../../lib/errors.ts'
import { findNearest, renderNearest } from '../../../lib/nearest.ts'
import { RecordedRefusal, roleSetOf } from '../authorize.ts'
import { requiresMfa } from '../context.ts'
import type { AuthContext, KnownCaller } from '../context.ts'
import { callerFields } from '../event-fields.ts'
import { findApps, listAppNames } from '../find-apps.ts'

const LIFETIME_MS = 5 * 60_000
/** Names like a wrong one, of which each is judged before one is suggested. */
const MAX_SIMILAR = 50

/**
 * Exchanges the caller's own credential for the word to one agent about who calls. A server that the caller may not see is as absent as one
 * that does not exist: `not_found`. What the caller may do there is decided by the agent.
 */
export async function issueRouteAssertion(
  context: AuthContext,
  { server }: ParsedInputOf<typeof ROUTES.issueRouteAssertion>,
  caller: KnownCaller,
): Promise<{ assertion: string; expires: string }> {
  const { identity } = caller
  if (identity.kind === 'host') throw new AppError('permission_denied', 'only users and bots call MCP servers')
  if (identity.internal === true)
    throw new AppError('permission_denied', "a bot's own certificate opens nothing: use an output of tbot, such as its identity file")
  const denied = findRefusal(context, server, caller)
  if (denied) await refuse(context, server, caller, denied)
  // Whatever changes from then on, in whichever process, is news to who reads this.
  const now = caller.asOf ?? context.now()
  const assertion = await issueAssertion(
    context.keys.assertion,
    {
      clusterName: context.clusterName,
      server,
      identity,
      certificate: identity.credential === 'certificate' && caller.certificate ? thumbprintOf(caller.certificate) : undefined,
    },
    { now, ttlMs: LIFETIME_MS },
  )
  return {
    assertion,
    expires: new Date(Math.min(now + LIFETIME_MS, identity.tokenExpiresAt ?? identity.expiresAt, identity.expiresAt)).toISOString(),
  }
}

function findRefusal(context: AuthContext, server: string, { identity }: KnownCaller): Denied | undefined {
  const roleSet = roleSetOf(context, identity)
  const requireMfa = requiresMfa(context)
  let refusal: Denied = { allow: false, kind: 'no_role', reason: 'no such MCP server', by: null }
  for (const app of findApps(context, server)) {
    const view = serverViewOf(app)
    const { decision } = serverAccess(roleSet, view, { mfaVerified: identity.mfaVerified, requireMfa })
    if (decision.allow) return undefined
    // A missing second factor may be told only to who would be let in with it.
    const isOnlyMfa = decision.kind === 'mfa_required' && serverAccess(roleSet, view, { mfaVerified: true, requireMfa }).decision.allow
    refusal = isOnlyMfa || decision.kind !== 'mfa_required' ? decision : { ...decision, kind: 'no_labels' }
  }
  return refusal
}

async function refuse(context: AuthContext, server: string, caller: KnownCaller, { kind, reason, by }: Denied): Promise<never> {
  const event = {
    ...callerFields(caller),
    success: false,
    error: reason,
    server,
    kind: 'app',
    name: server,
    verb: 'use',
    decision: { allow: false, kind, reason, by },
  }
  await context.journal.record([buildEvent('access.denied', event, context.build)])
  if (kind === 'mfa_required') throw new RecordedRefusal(reason)
  const hint = renderNearest(server, listSimilarUsable(context, server, caller))
  throw new AppError('not_found', `MCP server "${server}" not found${hint}: tsh mcp ls lists the ones you may use`)
}

/** Only of what this caller may use anyway: nothing is to be learnt of other servers. */
function listSimilarUsable(context: AuthContext, server: string, caller: KnownCaller): string[] {
  const similar = new Set(listAppNames(context).filter((name) => findNearest(server, [name]) !== undefined))
  return [...similar].slice(0, MAX_SIMILAR).filter((name) => findRefusal(context, name, caller) === undefined)
}

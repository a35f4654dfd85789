import type { OutputOf, ParsedInputOf } from '../../../api/route.ts'
import type { ROUTES } from '../../../api/routes.ts'
import { AppError } from '../../../lib/errors.ts'
import { findSession, keepSession, takeSession } from '../../../storage/mcp-sessions.ts'
import { noteSession } from '../changes.ts'
import type { AuthContext, KnownCaller } from '../context.ts'

/** What is kept is no decision of anybody's, as with names: it has no event. */
export async function keepMcpSession(
  context: AuthContext,
  { expires, ...input }: ParsedInputOf<typeof ROUTES.keepMcpSession>,
  caller: KnownCaller,
): Promise<OutputOf<typeof ROUTES.keepMcpSession>> {
  refuseOthers(caller)
  return await context.journal.commit(async (tx) => {
    const kept = await keepSession(tx, { ...input, expiresAt: Date.parse(expires) }, context.now())
    if (kept) await noteSession(context, tx, input.name)
    return { output: { kept }, events: [] }
  })
}

export async function findMcpSession(
  context: AuthContext,
  { name }: ParsedInputOf<typeof ROUTES.findMcpSession>,
  caller: KnownCaller,
): Promise<OutputOf<typeof ROUTES.findMcpSession>> {
  refuseOthers(caller)
  return { found: (await findSession(context.db, name, context.now())) ?? null }
}

export async function takeMcpSession(
  context: AuthContext,
  { name }: ParsedInputOf<typeof ROUTES.takeMcpSession>,
  caller: KnownCaller,
): Promise<OutputOf<typeof ROUTES.takeMcpSession>> {
  refuseOthers(caller)
  return { body: (await takeSession(context.db, name, context.now())) ?? null }
}

/** A role that may do everything may not this: whoever writes here speaks as somebody else's client. */
function refuseOthers({ identity }: KnownCaller): void {
  if (identity.kind !== 'host') throw new AppError('permission_denied', 'what is kept of MCP sessions is for proxies only')
}

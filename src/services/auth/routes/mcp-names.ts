import type { OutputOf, ParsedInputOf } from '../../../api/route.ts'
import type { ROUTES } from '../../../api/routes.ts'
import { AppError } from '../../../lib/errors.ts'
import { assignNames, findName } from '../../../storage/mcp-names.ts'
import type { AuthContext, KnownCaller } from '../context.ts'

/** What is kept is no decision of anybody's, as with heartbeats: it has no event. */
export async function assignMcpNames(
  context: AuthContext,
  input: ParsedInputOf<typeof ROUTES.assignMcpNames>,
  caller: KnownCaller,
): Promise<OutputOf<typeof ROUTES.assignMcpNames>> {
  refuseOthers(caller)
  return { exposed: await assignNames(context.db, { ...input, now: context.now() }) }
}

export async function findMcpName(
  context: AuthContext,
  { what, exposed }: ParsedInputOf<typeof ROUTES.findMcpName>,
  caller: KnownCaller,
): Promise<OutputOf<typeof ROUTES.findMcpName>> {
  refuseOthers(caller)
  return { found: (await findName(context.db, what, exposed)) ?? null }
}

/** Names say which tools there are on servers a person may not see, and are given for good: a role that may do everything may not this. */
function refuseOthers({ identity }: KnownCaller): void {
  if (identity.kind !== 'host') throw new AppError('permission_denied', 'exposed names are given and read by proxies only')
}

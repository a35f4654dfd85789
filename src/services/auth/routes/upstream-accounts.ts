import { findLock, lockReason } from '../../../access/locks.ts'
import type { OutputOf, ParsedInputOf } from '../../../api/route.ts'
import type { ROUTES } from '../../../api/routes.ts'
import { verifyAssertion } from '../../../ca/assertion.ts'
import { AppError } from '../../../lib/errors.ts'
import { findAccountId } from '../../../storage/credentials.ts'
import { authorize } from '../authorize.ts'
import type { AuthContext, KnownCaller } from '../context.ts'
import { listAppOffers } from '../offers.ts'
import { accountUrl } from '../upstream-accounts/current-tokens.ts'
import { dropGrant, findAccount, listAccounts } from '../upstream-accounts/grants.ts'

const KIND = 'upstream_account'

/**
 * The token of the user whose assertion the agent was given, for a server that it offers, as that is registered: an agent cannot ask for somebody
 * who does not call, nor say where the token goes.
 */
export async function issueUpstreamToken(
  context: AuthContext,
  { server, uri, assertion, refused }: ParsedInputOf<typeof ROUTES.issueUpstreamToken>,
  { identity: agent }: KnownCaller,
): Promise<OutputOf<typeof ROUTES.issueUpstreamToken>> {
  const { clusterName, keys, live } = context
  const now = context.now()
  const { identity } = await verifyAssertion(assertion, [keys.assertion], { clusterName, server, now })
  const lock = findLock(live.list('lock'), identity, now, { serverId: agent.name })
  if (lock) throw new AppError('permission_denied', lockReason(lock))
  const app = live.find('app', server)
  const isOffered = listAppOffers(context).some(({ spec }) => spec.host_id === agent.name && spec.app.metadata.name === server)
  if (agent.kind !== 'host' || !app?.spec.mcp?.oauth || !isOffered)
    throw new AppError('not_found', `this agent offers no MCP server "${server}" with accounts of users`)
  if (app.spec.uri !== uri) throw new AppError('unavailable', `MCP server "${server}" was moved: try again in a moment`)
  if (identity.kind !== 'user')
    throw new AppError('failed_precondition', `MCP server "${server}" is for people with an account there: a ${identity.kind} has none`)
  const account = await findAccountId(context.db, identity.name)
  if (account === undefined || !live.find('user', identity.name))
    throw new AppError('unauthenticated', `user "${identity.name}" does not exist any more`)
  const { id, token, expiresAt } = await context.accountTokens().get(account, app, refused)
  return { id, token, expires: new Date(expiresAt).toISOString() }
}

export async function listUpstreamAccounts(
  context: AuthContext,
  input: ParsedInputOf<typeof ROUTES.listUpstreamAccounts>,
  caller: KnownCaller,
): Promise<OutputOf<typeof ROUTES.listUpstreamAccounts>> {
  const own = ownName(caller)
  const wanted = input.user ?? own ?? '*'
  if (wanted !== own || wanted === '*') await authorize(context, caller, KIND, 'list')
  const page = accountUrl(context, '')
  if (wanted === '*') return { items: await listAccounts(context), page }
  const account = await findAccountId(context.db, wanted)
  return { items: account === undefined ? [] : await listAccounts(context, account), page }
}

export async function deleteUpstreamAccount(
  context: AuthContext,
  { id }: ParsedInputOf<typeof ROUTES.deleteUpstreamAccount>,
  caller: KnownCaller,
): Promise<Record<string, never>> {
  const account = await findAccount(context, id)
  // One that does not exist is refused like one of somebody else, so that ids cannot be tried.
  const isOwn = account !== undefined && account.user === ownName(caller)
  if (!isOwn) await authorize(context, caller, KIND, 'delete')
  await dropGrant(context, id, caller, isOwn ? 'by the user' : 'by an administrator')
  return {}
}

/** An API token, which may be narrowed, has nothing of its user's in this. */
function ownName({ identity }: KnownCaller): string | undefined {
  return identity.kind === 'user' && identity.credential === 'certificate' ? identity.name : undefined
}

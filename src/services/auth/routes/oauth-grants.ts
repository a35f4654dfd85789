import type { OAuthGrant } from '../../../api/oauth-grants.ts'
import type { ParsedInputOf } from '../../../api/route.ts'
import type { ROUTES } from '../../../api/routes.ts'
import { AppError } from '../../../lib/errors.ts'
import { authorize } from '../authorize.ts'
import type { AuthContext, KnownCaller } from '../context.ts'
import { findGrant, listGrants, revokeGrant } from '../oauth/held-grants.ts'

const KIND = 'oauth_grant'

export async function listOAuthGrants(
  context: AuthContext,
  input: ParsedInputOf<typeof ROUTES.listOAuthGrants>,
  caller: KnownCaller,
): Promise<{ items: OAuthGrant[] }> {
  const own = ownName(caller)
  const wanted = input.user ?? own ?? '*'
  if (wanted !== own || wanted === '*') await authorize(context, caller, KIND, 'list')
  return { items: await listGrants(context, wanted === '*' ? undefined : wanted) }
}

export async function deleteOAuthGrant(
  context: AuthContext,
  { id }: ParsedInputOf<typeof ROUTES.deleteOAuthGrant>,
  caller: KnownCaller,
): Promise<Record<string, never>> {
  const grant = await findGrant(context, id)
  // One that does not exist is refused like one of somebody else, so that ids cannot be tried.
  const isOwn = grant !== undefined && grant.user === ownName(caller)
  if (!isOwn) await authorize(context, caller, KIND, 'delete')
  if (!grant) throw new AppError('not_found', `OAuth grant ${JSON.stringify(id)} not found`)
  await revokeGrant(context, grant, caller, isOwn ? 'by the user' : 'by an administrator')
  return {}
}

/** An API token, which may be narrowed, has nothing of its user's in this. */
function ownName({ identity }: KnownCaller): string | undefined {
  return identity.kind === 'user' && identity.credential === 'certificate' ? identity.name : undefined
}

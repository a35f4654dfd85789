import type { IssuedIdentity } from '../../../api/identity.ts'
import type { OutputOf, ParsedInputOf } from '../../../api/route.ts'
import type { ROUTES } from '../../../api/routes.ts'
import { AppError } from '../../../lib/errors.ts'
import type { AuthContext, Caller, KnownCaller } from '../context.ts'
import { callerFields } from '../event-fields.ts'
import { issueForUser, parseProvenKey, recordIssue } from '../issue.ts'
import { signIn } from '../sign-in.ts'

type Input<N extends keyof typeof ROUTES> = ParsedInputOf<(typeof ROUTES)[N]>

export async function loginLocal(context: AuthContext, input: Input<'loginLocal'>, caller: Caller): Promise<IssuedIdentity> {
  const key = parseProvenKey('login', input.user, input)
  const { mfaVerified, account } = await signIn(
    context,
    { user: input.user, password: input.password, totp: input.totp },
    caller.remoteAddress,
    'local',
  )
  const { issued, serial } = await issueForUser(context, { user: input.user, key, ttlSeconds: input.ttl, mfaVerified, account })
  await recordIssue(context, { user: input.user, remote_addr: caller.remoteAddress }, { issued, serial })
  return issued
}

export async function signCertificate(context: AuthContext, input: Input<'signCertificate'>, caller: KnownCaller): Promise<IssuedIdentity> {
  // What outlives the token, or may more than it, does not come from it.
  if (caller.identity.credential === 'api_token')
    throw new AppError('permission_denied', 'an API token cannot get a certificate: sign in with tsh login')
  if (caller.identity.allowReissue === false)
    throw new AppError(
      'permission_denied',
      'this identity gets no further certificates: set allow_reissue on the output of tbot that wrote it',
    )
  const key = parseProvenKey('sign', input.user, input)
  const wanted = { user: input.user, key, ttlSeconds: input.ttl, mfaVerified: false, account: undefined }
  const { issued, serial } = await issueForUser(context, wanted)
  await recordIssue(context, callerFields(caller), { issued, serial })
  return issued
}

export async function whoami(
  context: AuthContext,
  _input: Input<'whoami'>,
  { identity }: KnownCaller,
): Promise<OutputOf<typeof ROUTES.whoami>> {
  const { kind, name, grantingRoles, traits, credential, credentialId, expiresAt, tokenExpiresAt, scope, holder } = identity
  const roles = identity.roles.filter((role) => grantingRoles?.includes(role) ?? true)
  const expires = new Date(expiresAt).toISOString()
  return {
    kind,
    name,
    roles,
    traits,
    credential,
    credential_id: credentialId,
    expires,
    ...(tokenExpiresAt !== undefined && { token_expires: new Date(tokenExpiresAt).toISOString() }),
    ...(scope !== undefined && { scope }),
    ...(holder !== undefined && { holder }),
    cluster_name: context.clusterName,
  }
}

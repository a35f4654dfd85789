import type { IssuedIdentity } from '../../../api/identity.ts'
import type { OutputOf, ParsedInputOf } from '../../../api/route.ts'
import type { ROUTES } from '../../../api/routes.ts'
import { buildEvent } from '../../../audit/build-event.ts'
import type { AuthContext, Caller, KnownCaller } from '../context.ts'
import { callerFields } from '../event-fields.ts'
import { issueForUser, parseProvenKey } from '../issue.ts'
import { signIn } from '../sign-in.ts'

type Input<N extends keyof typeof ROUTES> = ParsedInputOf<(typeof ROUTES)[N]>

export async function loginLocal(context: AuthContext, input: Input<'loginLocal'>, caller: Caller): Promise<IssuedIdentity> {
  const key = parseProvenKey('login', input.user, input)
  const { mfaVerified } = await signIn(
    context,
    { user: input.user, password: input.password, totp: input.totp },
    caller.remoteAddress,
    'local',
  )
  return issueForUser(context, { user: input.user, key, ttlSeconds: input.ttl, mfaVerified }).issued
}

export async function signCertificate(context: AuthContext, input: Input<'signCertificate'>, caller: KnownCaller): Promise<IssuedIdentity> {
  const key = parseProvenKey('sign', input.user, input)
  const { issued, serial } = issueForUser(context, { user: input.user, key, ttlSeconds: input.ttl, mfaVerified: false })
  const event = {
    ...callerFields(caller),
    success: true,
    name: input.user,
    roles: issued.roles,
    cert_type: 'user',
    serial,
    expires: issued.expires,
  }
  await context.journal.record([buildEvent('cert.create', event, context.build)])
  return issued
}

export async function whoami(
  context: AuthContext,
  _input: Input<'whoami'>,
  { identity }: KnownCaller,
): Promise<OutputOf<typeof ROUTES.whoami>> {
  const { kind, name, roles, traits, expiresAt } = identity
  return { kind, name, roles, traits, expires: new Date(expiresAt).toISOString(), cluster_name: context.clusterName }
}

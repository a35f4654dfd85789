import { createHash } from 'node:crypto'
import type { OutputOf, ParsedInputOf } from '../../../api/route.ts'
import type { ROUTES } from '../../../api/routes.ts'
import { buildEvent } from '../../../audit/build-event.ts'
import { hashPassword } from '../../../ca/password.ts'
import { AppError } from '../../../lib/errors.ts'
import { originOfUser } from '../../../resources/connector.ts'
import { parseResource } from '../../../resources/registry.ts'
import { secondFactorsOf } from '../../../resources/second-factors.ts'
import { consumeInvite, createInvite, findInvite, setLocalCredential } from '../../../storage/credentials.ts'
import type { Invite } from '../../../storage/credentials.ts'
import type { Executor } from '../../../storage/database.ts'
import { createResource } from '../../../storage/resources.ts'
import { renewAccount, revokeEnded } from '../accounts.ts'
import { noteReplaced } from '../changes.ts'
import { authPreference } from '../context.ts'
import type { AuthContext, Caller, KnownCaller } from '../context.ts'
import { callerFields } from '../event-fields.ts'
import { keepDevice, readApp, readPasskey } from '../mfa/devices.ts'
import type { NewDevice } from '../mfa/devices.ts'
import type { PasskeyPlace } from '../mfa/passkeys.ts'
import { prepareResource, resourceEvent } from '../resource-rules.ts'
import { offerTotp } from '../totp.ts'

type Input<N extends keyof typeof ROUTES> = ParsedInputOf<(typeof ROUTES)[N]>
type Invitation = OutputOf<typeof ROUTES.inviteUser>

const SIGNUP_SECONDS = 3600
const RESET_SECONDS = 8 * 3600

export async function inviteUser(context: AuthContext, input: Input<'inviteUser'>, caller: KnownCaller): Promise<Invitation> {
  const spec = { roles: input.roles, ...(input.traits && { traits: input.traits }) }
  const user = parseResource('user', { kind: 'user', version: 'v2', metadata: { name: input.name }, spec })
  return await context.journal.commit(async (tx) => {
    const prepared = prepareResource(context, caller, user, context.live.find('user', input.name))
    const saved = await createResource(tx, 'user', prepared.kind === 'user' ? prepared : user, context.now())
    await renewAccount(context, tx, input.name)
    const output = await makeInvite(context, tx, input.name, 'signup', input.ttl ?? SIGNUP_SECONDS)
    const created = resourceEvent(context, caller, 'create', saved)
    const invited = buildEvent(
      'user.invite',
      { ...callerFields(caller), success: true, name: input.name, roles: input.roles, expires: output.expires },
      context.build,
    )
    return { output, events: created ? [created, invited] : [invited] }
  })
}

export async function resetUser(context: AuthContext, input: Input<'resetUser'>, caller: KnownCaller): Promise<Invitation> {
  return await context.journal.commit(async (tx) => {
    const user = context.live.find('user', input.name)
    if (!user) throw new AppError('not_found', `user "${input.name}" not found`)
    const origin = originOfUser(user)
    if (origin)
      throw new AppError(
        'failed_precondition',
        `user "${input.name}" signs in by the connector "${origin.id}" and has no password here: to end its sessions, lock or delete it`,
      )
    const ended = await renewAccount(context, tx, input.name)
    const output = await makeInvite(context, tx, input.name, 'reset', input.ttl ?? RESET_SECONDS)
    const event = buildEvent(
      'user.reset',
      { ...callerFields(caller), success: true, name: input.name, expires: output.expires },
      context.build,
    )
    // Who watches ends the sessions of the one before.
    await noteReplaced(context, tx, 'user', input.name)
    await revokeEnded(context, tx, ended)
    return { output, events: [event] }
  })
}

export async function showInvite(
  context: AuthContext,
  { token }: Input<'showInvite'>,
  _caller: Caller,
): Promise<OutputOf<typeof ROUTES.showInvite>> {
  const { user, purpose } = await getInvite(context, token)
  const offer = offerTotp(user, context.clusterName, context.random)
  const { required, otp } = secondFactorsOf(authPreference(context).spec)
  return { user, purpose, totp_required: required && otp, totp_secret: offer.secret, totp_uri: offer.uri }
}

/** What somebody with a one-time link chooses to sign in by. */
export interface Chosen {
  /** None: the passkey stands alone. */
  password: string | undefined
  totp: { secret: string; code: string } | undefined
  passkey: { response: string; name: string; place: PasskeyPlace } | undefined
}

export async function acceptInvite(context: AuthContext, input: Input<'acceptInvite'>, caller: Caller): Promise<{ user: string }> {
  const { token, password, totp, totp_secret: secret = '' } = input
  const code = totp === undefined || totp === '' ? undefined : { secret, code: totp }
  return await useInvite(context, token, { password, totp: code, passkey: undefined }, caller.remoteAddress)
}

/** Uses a link up. Throws `not_found` for one that is used or unknown, `invalid_argument` for a choice that does not do here. */
export async function useInvite(context: AuthContext, token: string, chosen: Chosen, remoteAddress: string): Promise<{ user: string }> {
  const { user } = await getInvite(context, token)
  checkChoice(context, chosen)
  const device = await readDevice(context, user, chosen)
  const { password } = chosen
  const password_hash = password === undefined ? undefined : await context.limits.hash(() => hashPassword(password))
  return await context.journal.commit(async (tx) => {
    const now = context.now()
    const invite = await consumeInvite(tx, hashOf(token), now)
    if (!invite || !context.live.find('user', invite.user)) throw unknownLink()
    if (password_hash !== undefined) await setLocalCredential(tx, { user, password_hash, updated_at: now })
    const added = device && (await keepDevice(context, tx, { user, remoteAddress }, device))
    const event = buildEvent('user.password_change', { user, name: user, remote_addr: remoteAddress, success: true }, context.build)
    return { output: { user }, events: added ? [event, added] : [event] }
  })
}

/** Whose link this is. Throws `not_found`. */
export async function findInvited(context: AuthContext, token: string): Promise<string> {
  return (await getInvite(context, token)).user
}

async function makeInvite(
  context: AuthContext,
  tx: Executor,
  user: string,
  purpose: Invite['purpose'],
  ttlSeconds: number,
): Promise<Invitation> {
  const token = Buffer.from(context.random(32)).toString('base64url')
  const now = context.now()
  const expires_at = now + ttlSeconds * 1000
  await createInvite(tx, { token_hash: hashOf(token), user, purpose, expires_at, created_at: now })
  const path = `/web/signup/${token}`
  return { user, path, url: `https://${context.publicAddress()}${path}`, expires: new Date(expires_at).toISOString() }
}

async function getInvite(context: AuthContext, token: string): Promise<Invite> {
  const invite = await findInvite(context.db, hashOf(token), context.now())
  if (!invite || !context.live.find('user', invite.user)) throw unknownLink()
  return invite
}

/** Whether the cluster lets somebody sign in by this alone. */
function checkChoice(context: AuthContext, { totp, passkey }: Chosen): void {
  const { required, otp, webauthn } = secondFactorsOf(authPreference(context).spec)
  if (!required || totp || passkey) return
  if (otp)
    throw new AppError(
      'invalid_argument',
      'totp: this cluster requires a second factor: add the secret to your authenticator app and enter its code',
    )
  if (webauthn)
    throw new AppError('invalid_argument', 'this cluster requires a passkey, which browsers alone can make: open the link in a browser')
  throw new AppError('failed_precondition', 'this cluster requires a second factor of an identity provider: sign in with that')
}

async function readDevice(context: AuthContext, user: string, { password, totp, passkey }: Chosen): Promise<NewDevice | undefined> {
  if (totp) return readApp(context, user, { name: 'otp', ...totp })
  if (!passkey) return undefined
  const device = await readPasskey(context, passkey.name, passkey.response, passkey.place, user)
  const { passwordless } = secondFactorsOf(authPreference(context).spec)
  if (password === undefined && !(device.alone && passwordless))
    throw new AppError('invalid_argument', 'choose a password beside this passkey')
  return device
}

function unknownLink(): AppError {
  return new AppError('not_found', 'this link is not known, was used already or has expired: ask your administrator for a new one')
}

function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('hex')
}

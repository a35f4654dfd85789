import { createHash } from 'node:crypto'
import type { OutputOf, ParsedInputOf } from '../../../api/route.ts'
import type { ROUTES } from '../../../api/routes.ts'
import { buildEvent } from '../../../audit/build-event.ts'
import { hashPassword } from '../../../ca/password.ts'
import { AppError } from '../../../lib/errors.ts'
import { originOfUser } from '../../../resources/connector.ts'
import { parseResource } from '../../../resources/registry.ts'
import { consumeInvite, createInvite, findInvite, markTotpUsed, setLocalCredential } from '../../../storage/credentials.ts'
import type { Invite } from '../../../storage/credentials.ts'
import type { Executor } from '../../../storage/database.ts'
import { createResource } from '../../../storage/resources.ts'
import { renewAccount, revokeEnded } from '../accounts.ts'
import { noteReplaced } from '../changes.ts'
import { authPreference } from '../context.ts'
import type { AuthContext, Caller, KnownCaller } from '../context.ts'
import { callerFields } from '../event-fields.ts'
import { prepareResource, resourceEvent } from '../resource-rules.ts'
import { totpContext } from '../sign-in.ts'
import { findTotpStep, offerTotp } from '../totp.ts'

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
  return { user, purpose, totp_required: isTotpRequired(context), totp_secret: offer.secret, totp_uri: offer.uri }
}

export async function acceptInvite(context: AuthContext, input: Input<'acceptInvite'>, caller: Caller): Promise<{ user: string }> {
  const { user } = await getInvite(context, input.token)
  const totp = checkTotp(context, input)
  const password_hash = await context.limits.hash(() => hashPassword(input.password))
  return await context.journal.commit(async (tx) => {
    const now = context.now()
    const invite = await consumeInvite(tx, hashOf(input.token), now)
    if (!invite || !context.live.find('user', invite.user)) throw unknownLink()
    const totp_sealed = totp ? context.sealer.seal(Buffer.from(totp.secret), totpContext(user)) : null
    await setLocalCredential(tx, { user, password_hash, totp_sealed, updated_at: now })
    // The code that proved the secret is used up, too.
    if (totp) await markTotpUsed(tx, user, totp.step)
    const event = buildEvent('user.password_change', { user, name: user, remote_addr: caller.remoteAddress, success: true }, context.build)
    return { output: { user }, events: [event] }
  })
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

/** The secret that is to be kept, once a code has proved that the person has it; undefined where none is set up. */
function checkTotp(
  context: AuthContext,
  { totp, totp_secret: secret }: Input<'acceptInvite'>,
): { secret: string; step: number } | undefined {
  if (totp === undefined || totp === '') {
    if (!isTotpRequired(context)) return undefined
    throw new AppError(
      'invalid_argument',
      'totp: this cluster requires a second factor: add the secret to your authenticator app and enter its code',
    )
  }
  const step = secret === undefined ? undefined : findTotpStep(secret, totp, context.now())
  if (secret === undefined || step === undefined)
    throw new AppError(
      'invalid_argument',
      'totp: the code does not fit the secret: enter the current code of your authenticator app and check the clock',
    )
  return { secret, step }
}

/** A factor that is not supported yet counts as required, and then a code is the one that can be given. */
function isTotpRequired(context: AuthContext): boolean {
  const wanted = authPreference(context).spec.second_factor
  return wanted !== 'off' && wanted !== 'optional'
}

function unknownLink(): AppError {
  return new AppError('not_found', 'this link is not known, was used already or has expired: ask your administrator for a new one')
}

function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('hex')
}

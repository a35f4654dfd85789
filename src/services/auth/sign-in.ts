import { buildEvent } from '../../audit/build-event.ts'
import { verifyPassword } from '../../ca/password.ts'
import { AppError } from '../../lib/errors.ts'
import { originOfUser } from '../../resources/connector.ts'
import { secondFactorsOf } from '../../resources/second-factors.ts'
import { findAccountId, findLocalCredential } from '../../storage/credentials.ts'
import type { MfaDevice } from '../../storage/mfa-devices.ts'
import { authPreference } from './context.ts'
import type { AuthContext } from './context.ts'
import { refuseLockedUser } from './issue.ts'
import { claimedId, passkeyOf, verifyPasskey } from './mfa/passkeys.ts'
import type { PasskeyPlace } from './mfa/passkeys.ts'
import { SignInRefusal } from './mfa/refusal.ts'
import { deviceFields, findAskedFactors, verifyCode } from './mfa/second-factor.ts'
import type { AskedFactors } from './mfa/second-factor.ts'
import { allowsPasswords } from './sso/connectors.ts'

export interface SignInRequest {
  user: string
  password: string
  totp: string | undefined
}

/** Somebody who has just proved who it is. */
export interface SignedIn {
  user: string
  /** Id of the account; another one from the next reset on. */
  account: string
  mfaVerified: boolean
  /** How, as RFC 8176 calls it. */
  methods: string[]
}

/** Somebody whose password was right and whose second factor is still missing. */
export interface Asked {
  user: string
  account: string
  factors: AskedFactors
}

type Method = 'local' | 'browser'

interface Proof {
  signedIn: SignedIn
  /** The second factor, or the passkey that stood alone. */
  device?: MfaDevice
}

/**
 * Password and, as the cluster asks for it, one-time code. One event tells how it went. Unknown users take as long as known ones and get the
 * same answer. Throws `unauthenticated` (with `second_factor` in the details when that is what is missing), `permission_denied` (lock),
 * `failed_precondition` (a second factor is required and there is none) or `resource_exhausted` (too many failures).
 */
export async function signIn(context: AuthContext, request: SignInRequest, remoteAddress: string, method: Method): Promise<SignedIn> {
  const outcome = await signInWithPassword(context, request, remoteAddress, method)
  if (!('factors' in outcome)) return outcome
  if (outcome.factors.apps.length > 0)
    throw new AppError('unauthenticated', 'a one-time code of your authenticator app is needed', { details: { second_factor: 'totp' } })
  throw new AppError('unauthenticated', 'your second factor is a passkey, which browsers alone can use: tsh login --auth=browser', {
    details: { second_factor: 'webauthn' },
  })
}

/** The same where there can be a next step; `Asked` is to be proved with `finishSignIn`. */
export async function signInWithPassword(
  context: AuthContext,
  request: SignInRequest,
  remoteAddress: string,
  method: Method,
): Promise<SignedIn | Asked> {
  const told = { user: request.user, remoteAddress, method }
  return await counted(context, told, async () => {
    const account = await verifyLocal(context, request)
    const { user, totp } = request
    const factors = await findAskedFactors(context, user)
    if (!factors) return { signedIn: { user, account, mfaVerified: false, methods: ['pwd'] } }
    if (totp !== undefined && totp !== '' && factors.apps.length > 0) return await byCode(context, { user, account, factors }, totp)
    return { user, account, factors }
  })
}

/** The second step: a code or the answer of a passkey. Throws as `signIn` does. */
export async function finishSignIn(
  context: AuthContext,
  asked: Pick<Asked, 'user' | 'account'>,
  answer: { totp: string } | { passkey: string; place: PasskeyPlace },
  remoteAddress: string,
): Promise<SignedIn> {
  const { user, account } = asked
  const outcome = await counted(context, { user, remoteAddress, method: 'browser' }, async () => {
    const factors = await findAskedFactors(context, user)
    await checkHolder(context, user, account)
    if (!factors) throw new AppError('aborted', 'the second factor was removed meanwhile: sign in again')
    if ('totp' in answer) return await byCode(context, { user, account, factors }, answer.totp)
    const { device } = await verifyPasskey(context, answer.passkey, answer.place, { user })
    if (!factors.passkeys.some(({ id }) => id === device.id)) throw new SignInRefusal('a passkey that does not count')
    return { signedIn: { user, account, mfaVerified: true, methods: ['pwd', keyMethod(device), 'mfa'] }, device }
  })
  if ('factors' in outcome) throw new AppError('internal', 'the second step of a sign-in asked for another one')
  return outcome
}

/** A passkey alone, which has verified its owner: that is possession and knowledge or biometrics at once. Throws as `signIn` does. */
export async function signInWithPasskey(context: AuthContext, response: string, place: PasskeyPlace): Promise<SignedIn> {
  const { remoteAddress } = place
  // Counted for the passkey that is claimed: others at the same address do not wait for who guesses.
  const told = { user: '', counted: `passkey:${claimedId(response)}`, remoteAddress, method: 'browser' as const }
  const outcome = await counted(context, told, async (found) => {
    if (!allowsPasswords(context) || !secondFactorsOf(authPreference(context).spec).passwordless)
      throw new AppError('permission_denied', 'this cluster does not let anybody in by a passkey alone')
    const { device } = await verifyPasskey(context, response, place, { found })
    const { user } = device
    const account = await findAccountId(context.db, user)
    await checkHolder(context, user, account ?? '')
    return { signedIn: { user, account: account ?? '', mfaVerified: true, methods: [keyMethod(device), 'user', 'mfa'] }, device }
  })
  if ('factors' in outcome) throw new AppError('internal', 'a passkey that stands alone was not enough')
  return outcome
}

interface Told {
  /** '' while that is not known. */
  user: string
  /** As what tries are counted; the user unless told. */
  counted?: string
  remoteAddress: string
  method: Method
}

/** Counts a try before its outcome is known, and writes down how it went. */
async function counted(
  context: AuthContext,
  { user: claimed, counted: named = claimed, remoteAddress, method }: Told,
  work: (told: (user: string) => void) => Promise<Proof | Asked>,
): Promise<SignedIn | Asked> {
  await context.limits.startLogin(named, remoteAddress)
  let user = claimed
  const event = () => ({ ...(user !== '' && { user }), remote_addr: remoteAddress, method })
  try {
    const outcome = await work((found) => (user = found))
    if ('factors' in outcome) {
      await context.limits.undoLogin(named, remoteAddress)
      await context.journal.record([buildEvent('mfa_auth_challenge.create', { ...event(), success: true }, context.build)])
      return outcome
    }
    const { signedIn, device } = outcome
    if (device) refuseLockedUser(context, signedIn.user, { mfaDevice: device.id })
    await context.limits.finishLogin(named, remoteAddress)
    const with_mfa = device ? (device.type === 'totp' ? 'totp' : 'webauthn') : 'none'
    const facts = { ...event(), success: true, with_mfa, ...(device && { mfa_device: deviceFields(device) }) }
    await context.journal.record([buildEvent('user.login', facts, context.build)])
    return signedIn
  } catch (thrown) {
    const isWrong = thrown instanceof SignInRefusal
    if (!isWrong) await context.limits.undoLogin(named, remoteAddress)
    if (!(thrown instanceof AppError) || thrown.code === 'internal') throw thrown
    const error = isWrong ? thrown.reason : thrown.message
    await context.journal.record([buildEvent('user.login', { ...event(), success: false, error }, context.build)])
    throw thrown
  }
}

/** The id of the account whose password this is. */
async function verifyLocal(context: AuthContext, { user, password }: SignInRequest): Promise<string> {
  if (!allowsPasswords(context))
    throw new AppError('permission_denied', 'this cluster does not let anybody in with a password: sign in with your identity provider')
  // Before the password: of a reset in between nothing is left that fits.
  const account = await findAccountId(context.db, user)
  const credential = await findLocalCredential(context.db, user)
  const isRight = await context.limits.hash(() => verifyPassword(password, credential?.password_hash ?? context.dummyHash))
  const known = context.live.find('user', user)
  if (!credential || account === undefined || !known) throw new SignInRefusal('unknown user, or one without a password')
  if (originOfUser(known)) throw new SignInRefusal('a user of a connector')
  if (!isRight) throw new SignInRefusal('wrong password')
  refuseLockedUser(context, user)
  return account
}

/** Whether this is still the account that it was, and may sign in here. */
async function checkHolder(context: AuthContext, user: string, account: string): Promise<void> {
  const known = context.live.find('user', user)
  if (!known || (await findAccountId(context.db, user)) !== account) throw new SignInRefusal('the user is gone, or was reset')
  if (originOfUser(known)) throw new SignInRefusal('a user of a connector')
  refuseLockedUser(context, user)
}

async function byCode(context: AuthContext, { user, account, factors }: Asked, code: string): Promise<Proof> {
  const device = await verifyCode(context, user, factors.apps, code)
  return { signedIn: { user, account, mfaVerified: true, methods: ['pwd', 'otp'] }, device }
}

/** RFC 8176: a key in hardware, or one that may be copied to other devices. */
function keyMethod(device: MfaDevice): string {
  return passkeyOf(device).synced ? 'swk' : 'hwk'
}

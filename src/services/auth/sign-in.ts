import { buildEvent } from '../../audit/build-event.ts'
import { verifyPassword } from '../../ca/password.ts'
import { AppError } from '../../lib/errors.ts'
import { originOfUser } from '../../resources/connector.ts'
import { findAccountId, findLocalCredential, markTotpUsed } from '../../storage/credentials.ts'
import type { LocalCredential } from '../../storage/credentials.ts'
import { authPreference } from './context.ts'
import type { AuthContext } from './context.ts'
import { refuseLockedUser } from './issue.ts'
import { allowsPasswords } from './sso/connectors.ts'
import { findTotpStep } from './totp.ts'

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

/** Where the sealed TOTP secret of a user belongs. */
export function totpContext(user: string): string {
  return `totp/${user}`
}

/**
 * Password and, as the cluster asks for it, one-time code. One event tells how it went. Unknown users take as long as known ones and get the
 * same answer. Throws `unauthenticated`, `permission_denied` (lock), `failed_precondition` (a second factor is
 * required and there is none) or `resource_exhausted` (too many failures).
 */
export async function signIn(
  context: AuthContext,
  request: SignInRequest,
  remoteAddress: string,
  method: 'local' | 'browser',
): Promise<SignedIn> {
  const { user } = request
  await context.limits.startLogin(user, remoteAddress)
  const told = { user, remote_addr: remoteAddress, method }
  try {
    const { mfaVerified, account } = await verify(context, request)
    await context.limits.finishLogin(user, remoteAddress)
    await context.journal.record([
      buildEvent('user.login', { ...told, success: true, with_mfa: mfaVerified ? 'totp' : 'none' }, context.build),
    ])
    return { user, mfaVerified, account, methods: mfaVerified ? ['pwd', 'otp'] : ['pwd'] }
  } catch (thrown) {
    const isWrong = thrown instanceof SignInRefusal
    if (!isWrong) await context.limits.undoLogin(user, remoteAddress)
    if (!(thrown instanceof AppError) || thrown.code === 'internal') throw thrown
    const reason = isWrong ? thrown.reason : thrown.message
    await context.journal.record([buildEvent('user.login', { ...told, success: false, error: reason }, context.build)])
    throw thrown
  }
}

/** Same words for everybody outside; the audit log has the reason. */
class SignInRefusal extends AppError {
  readonly reason: string

  constructor(reason: string) {
    super('unauthenticated', 'wrong user name, password or one-time code')
    this.reason = reason
  }
}

async function verify(context: AuthContext, { user, password, totp }: SignInRequest): Promise<{ mfaVerified: boolean; account: string }> {
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
  return { mfaVerified: await verifySecondFactor(context, credential, totp), account }
}

async function verifySecondFactor(context: AuthContext, credential: LocalCredential, code: string | undefined): Promise<boolean> {
  const wanted = authPreference(context).spec.second_factor
  const { user, totp_sealed: sealed } = credential
  if (wanted === 'off') return false
  if (sealed === null) {
    if (wanted === 'optional') return false
    throw new AppError(
      'failed_precondition',
      `this cluster requires a second factor and you have none: ask your administrator for "tctl users reset ${user}"`,
    )
  }
  if (code === undefined || code === '')
    throw new AppError('unauthenticated', 'a one-time code of your authenticator app is needed', { details: { second_factor: 'totp' } })
  const now = context.now()
  const secret = context.sealer.open(sealed, totpContext(user)).toString()
  const step = findTotpStep(secret, code, now)
  if (step === undefined) throw new SignInRefusal('wrong one-time code')
  if (!(await markTotpUsed(context.db, user, step))) throw new SignInRefusal('one-time code used before')
  return true
}

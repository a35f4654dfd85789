import { AppError } from '../../../lib/errors.ts'
import { secondFactorsOf } from '../../../resources/second-factors.ts'
import { listMfaDevices, useMfaDevice } from '../../../storage/mfa-devices.ts'
import type { MfaDevice } from '../../../storage/mfa-devices.ts'
import { authPreference } from '../context.ts'
import type { AuthContext } from '../context.ts'
import { findTotpStep } from '../totp.ts'
import { SignInRefusal } from './refusal.ts'

/** The second factors of somebody that count in this cluster now. */
export interface AskedFactors {
  apps: MfaDevice[]
  passkeys: MfaDevice[]
}

/** Where the sealed TOTP secret of a user belongs. */
export function totpContext(user: string): string {
  return `totp/${user}`
}

/**
 * What a user with the right password has to prove beside it; undefined: nothing. Throws `failed_precondition` when the cluster wants
 * something that the user does not have.
 */
export async function findAskedFactors(context: AuthContext, user: string): Promise<AskedFactors | undefined> {
  const wanted = secondFactorsOf(authPreference(context).spec)
  if (!wanted.otp && !wanted.webauthn && !wanted.required) return undefined
  const devices = await listMfaDevices(context.db, user)
  const apps = devices.filter(({ type }) => type === 'totp' && wanted.otp)
  const passkeys = devices.filter(({ type }) => type === 'webauthn' && wanted.webauthn)
  if (apps.length + passkeys.length > 0) return { apps, passkeys }
  if (!wanted.required) return undefined
  const what = wanted.otp ? (wanted.webauthn ? 'a second factor' : 'one-time codes') : wanted.webauthn ? 'a passkey' : undefined
  throw new AppError(
    'failed_precondition',
    what === undefined
      ? 'this cluster requires a second factor of an identity provider: sign in with that'
      : `this cluster requires ${what} and you have none: ask your administrator for "tctl users reset ${user}"`,
  )
}

/**
 * The authenticator app of a user that shows this code; each code counts once. Throws SignInRefusal, or `resource_exhausted` after too many
 * wrong ones, wherever they came from: a million codes are few for who has many addresses.
 */
export async function verifyCode(context: AuthContext, user: string, apps: readonly MfaDevice[], code: string): Promise<MfaDevice> {
  await context.limits.startCode(user)
  const now = context.now()
  let isUsed = false
  for (const device of apps) {
    const secret = context.sealer.open(device.document, totpContext(device.user)).toString()
    const step = findTotpStep(secret, code, now)
    if (step === undefined) continue
    if (await useMfaDevice(context.db, device.id, step, now)) {
      await context.limits.finishCode(user)
      return device
    }
    isUsed = true
  }
  throw new SignInRefusal(isUsed ? 'one-time code used before' : 'wrong one-time code')
}

/** How the audit log names it. */
export function deviceFields({ id, name, type }: Pick<MfaDevice, 'id' | 'name' | 'type'>) {
  return { mfa_device_name: name, mfa_device_uuid: id, mfa_device_type: type === 'totp' ? 'TOTP' : 'WebAuthn' }
}

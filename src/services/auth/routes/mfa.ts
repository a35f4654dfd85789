import type { OutputOf, ParsedInputOf } from '../../../api/route.ts'
import type { ROUTES } from '../../../api/routes.ts'
import { buildEvent } from '../../../audit/build-event.ts'
import { verifyPassword } from '../../../ca/password.ts'
import { AppError } from '../../../lib/errors.ts'
import { findLocalCredential } from '../../../storage/credentials.ts'
import { listMfaDevices as listDevices } from '../../../storage/mfa-devices.ts'
import type { MfaDevice } from '../../../storage/mfa-devices.ts'
import type { AuthContext, KnownCaller } from '../context.ts'
import { addDevice, checkLocal, readApp, removeDevice, standsAlone } from '../mfa/devices.ts'
import { SignInRefusal } from '../mfa/refusal.ts'
import { findPasskeyOrigin } from '../mfa/relying-party.ts'
import { deviceFields, verifyCode } from '../mfa/second-factor.ts'
import { originOf } from '../oauth/issuer.ts'
import { offerTotp } from '../totp.ts'

type Input<N extends keyof typeof ROUTES> = ParsedInputOf<(typeof ROUTES)[N]>

export async function listMfaDevices(
  context: AuthContext,
  _input: Input<'listMfaDevices'>,
  caller: KnownCaller,
): Promise<OutputOf<typeof ROUTES.listMfaDevices>> {
  const user = ownerOf(caller)
  const devices = await listDevices(context.db, user)
  return {
    items: devices.map((device) => ({
      id: device.id,
      name: device.name,
      type: device.type === 'totp' ? 'TOTP' : 'WebAuthn',
      passwordless: standsAlone(context, device),
      added: new Date(device.created_at).toISOString(),
      last_used: device.last_used_at === null ? null : new Date(device.last_used_at).toISOString(),
    })),
    change_needs: neededFor(devices),
    page: `${findPasskeyOrigin(context, undefined) ?? originOf(context.publicAddress())}/web/account`,
  }
}

export async function offerMfaApp(
  context: AuthContext,
  _input: Input<'offerMfaApp'>,
  caller: KnownCaller,
): Promise<OutputOf<typeof ROUTES.offerMfaApp>> {
  const user = ownerOf(caller)
  checkLocal(context, user)
  const { secret, uri } = offerTotp(user, context.clusterName, context.random)
  return { totp_secret: secret, totp_uri: uri }
}

export async function addMfaApp(context: AuthContext, input: Input<'addMfaApp'>, caller: KnownCaller): Promise<Record<string, never>> {
  const user = ownerOf(caller)
  const { remoteAddress } = caller
  const device = readApp(context, user, { name: input.name, secret: input.totp_secret, code: input.totp })
  await proveAgain(context, { user, remoteAddress }, input.proof)
  await addDevice(context, { user, remoteAddress }, () => device)
  return {}
}

export async function removeMfaDevice(
  context: AuthContext,
  { name, proof }: Input<'removeMfaDevice'>,
  caller: KnownCaller,
): Promise<Record<string, never>> {
  const user = ownerOf(caller)
  const { remoteAddress } = caller
  await proveAgain(context, { user, remoteAddress }, proof)
  await removeDevice(context, { user, remoteAddress }, { name })
  return {}
}

/** Only who has signed in as this person: what else acts for somebody must not change how that one signs in. */
function ownerOf({ identity }: KnownCaller): string {
  if (identity.kind !== 'user' || identity.credential !== 'certificate')
    throw new AppError('permission_denied', 'people see and change their own second factors, signed in with tsh login')
  return identity.name
}

function neededFor(devices: readonly MfaDevice[]): OutputOf<typeof ROUTES.listMfaDevices>['change_needs'] {
  if (devices.some(({ type }) => type === 'totp')) return 'totp'
  return devices.length > 0 ? 'browser' : 'password'
}

/**
 * A certificate may be hours old, and may have been copied: who changes a second factor proves one that there is, or else the password. Throws
 * `unauthenticated`, `failed_precondition` where the browser alone can do it, or `resource_exhausted`.
 */
async function proveAgain(
  context: AuthContext,
  { user, remoteAddress }: { user: string; remoteAddress: string },
  proof: string | undefined,
): Promise<void> {
  checkLocal(context, user)
  const devices = await listDevices(context.db, user)
  const needed = neededFor(devices)
  if (needed === 'browser')
    throw new AppError(
      'failed_precondition',
      'your second factor is a passkey, which browsers alone can use: change it on your account page',
    )
  if (proof === undefined || proof === '') {
    const what = needed === 'totp' ? 'a code of an authenticator app that you have set up already' : 'your password'
    throw new AppError('unauthenticated', `${what} is needed`, { details: { needed } })
  }
  await context.limits.startLogin(user, remoteAddress)
  const event = { user, remote_addr: remoteAddress }
  try {
    const device = await verifyProof(context, user, devices, proof)
    await context.limits.finishLogin(user, remoteAddress)
    const facts = { ...event, success: true, ...(device && { mfa_device: deviceFields(device) }) }
    await context.journal.record([buildEvent('mfa_auth_challenge.validate', facts, context.build)])
  } catch (thrown) {
    if (!(thrown instanceof SignInRefusal)) {
      await context.limits.undoLogin(user, remoteAddress)
      throw thrown
    }
    const facts = { ...event, success: false, error: thrown.reason }
    await context.journal.record([buildEvent('mfa_auth_challenge.validate', facts, context.build)])
    throw thrown
  }
}

async function verifyProof(
  context: AuthContext,
  user: string,
  devices: readonly MfaDevice[],
  proof: string,
): Promise<MfaDevice | undefined> {
  const apps = devices.filter(({ type }) => type === 'totp')
  if (apps.length > 0) return await verifyCode(context, user, apps, proof)
  const credential = await findLocalCredential(context.db, user)
  const isRight = await context.limits.hash(() => verifyPassword(proof, credential?.password_hash ?? context.dummyHash))
  if (!credential || !isRight) throw new SignInRefusal('wrong password', 'wrong password')
  return undefined
}

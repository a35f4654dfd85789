import { z } from 'zod'
import { buildEvent } from '../../../audit/build-event.ts'
import { AppError } from '../../../lib/errors.ts'
import { originOfUser } from '../../../resources/connector.ts'
import { secondFactorsOf } from '../../../resources/second-factors.ts'
import { findLocalCredential } from '../../../storage/credentials.ts'
import type { Executor } from '../../../storage/database.ts'
import { createMfaDevice, deleteMfaDevice, listMfaDevices } from '../../../storage/mfa-devices.ts'
import type { MfaDevice } from '../../../storage/mfa-devices.ts'
import { authPreference } from '../context.ts'
import type { AuthContext } from '../context.ts'
import { findTotpStep } from '../totp.ts'
import { passkeyOf, readRegistration } from './passkeys.ts'
import type { PasskeyPlace } from './passkeys.ts'
import { SignInRefusal } from './refusal.ts'
import { deviceFields, totpContext } from './second-factor.ts'

/** Whose second factors are changed, and from where. */
export interface DeviceOwner {
  user: string
  remoteAddress: string
}

/** What is to be kept as a second factor. */
export type NewDevice = Pick<MfaDevice, 'name' | 'type' | 'credential_id' | 'document' | 'counter'>

const nameSchema = z
  .string()
  .trim()
  .min(1, 'give it a name')
  .max(64, 'a name has at most 64 characters')
  .regex(/^[^\p{Cc}\p{Cf}\p{Cs}]*$/u, 'a name must not contain control or invisible characters')

/** Throws `invalid_argument`. */
export function parseDeviceName(name: string): string {
  const parsed = nameSchema.safeParse(name)
  if (!parsed.success) throw new AppError('invalid_argument', `name: ${parsed.error.issues[0]?.message ?? 'not usable'}`)
  return parsed.data
}

/** The passkey that a browser has made. Throws PasskeyRefusal, or `failed_precondition` where passkeys do not count. */
export async function readPasskey(
  context: AuthContext,
  name: string,
  response: string,
  place: PasskeyPlace,
  user: string,
): Promise<NewDevice & { alone: boolean }> {
  if (!secondFactorsOf(authPreference(context).spec).webauthn)
    throw new AppError('failed_precondition', 'passkeys do not count in this cluster')
  const parsedName = parseDeviceName(name)
  const { alone, ...passkey } = await readRegistration(context, response, place, user)
  return { name: parsedName, type: 'webauthn', ...passkey, alone }
}

/** The authenticator app that shows this code now, which is used up by that. Throws `invalid_argument`. */
export function readApp(
  context: AuthContext,
  user: string,
  { name, secret, code }: { name: string; secret: string; code: string },
): NewDevice {
  if (!secondFactorsOf(authPreference(context).spec).otp)
    throw new AppError('failed_precondition', 'totp: one-time codes do not count in this cluster')
  const step = findTotpStep(secret, code, context.now())
  if (step === undefined)
    throw new AppError(
      'invalid_argument',
      'totp: the code does not fit the secret: enter the current code of your authenticator app and check the clock',
    )
  const document = context.sealer.seal(Buffer.from(secret), totpContext(user))
  return { name: parseDeviceName(name), type: 'totp', credential_id: null, document, counter: step }
}

/** Keeps a second factor; its event goes into the transaction of the caller. */
export async function keepDevice(context: AuthContext, tx: Executor, owner: DeviceOwner, device: NewDevice) {
  const { name, type, credential_id, document, counter } = device
  const id = context.build.ids.uuidv7()
  await createMfaDevice(tx, { id, user: owner.user, name, type, credential_id, document, counter, created_at: context.now() })
  return buildEvent('mfa.add', { ...by(owner), success: true, ...deviceFields({ id, name, type }) }, context.build)
}

/** Adds a second factor of somebody who is signed in; what is refused is written down. `read` makes it of what was sent. */
export async function addDevice(context: AuthContext, owner: DeviceOwner, read: () => Promise<NewDevice> | NewDevice): Promise<void> {
  await recorded(context, owner, 'mfa.add', async () => {
    checkLocal(context, owner.user)
    const device = await read()
    await context.journal.commit(async (tx) => ({ output: undefined, events: [await keepDevice(context, tx, owner, device)] }))
  })
}

/** Removes one. Throws `not_found`, or `failed_precondition` for the last one of who could not sign in without. */
export async function removeDevice(context: AuthContext, owner: DeviceOwner, which: { id: string } | { name: string }): Promise<void> {
  await recorded(context, owner, 'mfa.delete', async () => {
    await context.journal.commit(async (tx) => {
      const devices = await listMfaDevices(tx, owner.user)
      const device = devices.find((each) => ('id' in which ? each.id === which.id : each.name === which.name))
      if (!device) throw new AppError('not_found', 'you have no such second factor')
      const rest = devices.filter((each) => each !== device)
      await checkRest(context, tx, owner.user, rest)
      await deleteMfaDevice(tx, owner.user, device.id)
      const event = { ...by(owner), success: true, ...deviceFields(device) }
      return { output: undefined, events: [buildEvent('mfa.delete', event, context.build)] }
    })
  })
}

/** Throws `failed_precondition` for who has a second factor elsewhere. */
export function checkLocal(context: Pick<AuthContext, 'live'>, user: string): void {
  const known = context.live.find('user', user)
  if (!known) throw new AppError('not_found', 'the user is gone')
  const origin = originOfUser(known)
  if (origin) throw new AppError('failed_precondition', `you sign in by "${origin.id}": your second factor is there`)
}

/** Whether a passkey signs in by itself. */
export function standsAlone(context: Pick<AuthContext, 'live'>, device: MfaDevice): boolean {
  return device.type === 'webauthn' && passkeyOf(device).verified && secondFactorsOf(authPreference(context).spec).passwordless
}

async function checkRest(context: AuthContext, tx: Executor, user: string, rest: readonly MfaDevice[]): Promise<void> {
  const wanted = secondFactorsOf(authPreference(context).spec)
  const counting = rest.filter(({ type }) => (type === 'totp' ? wanted.otp : wanted.webauthn))
  if (wanted.required && counting.length === 0)
    throw new AppError('failed_precondition', 'this cluster requires a second factor and this is your last one: add another one first')
  if (!(await findLocalCredential(tx, user)) && !rest.some((device) => standsAlone(context, device)))
    throw new AppError('failed_precondition', 'you have no password, and this is your last passkey: add another one first')
}

async function recorded(
  context: AuthContext,
  owner: DeviceOwner,
  type: 'mfa.add' | 'mfa.delete',
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work()
  } catch (thrown) {
    if (!(thrown instanceof AppError) || thrown.code === 'internal') throw thrown
    const error = thrown instanceof SignInRefusal ? thrown.reason : thrown.message
    await context.journal.record([buildEvent(type, { ...by(owner), success: false, error }, context.build)])
    throw thrown
  }
}

function by({ user, remoteAddress }: DeviceOwner) {
  return { user, remote_addr: remoteAddress }
}

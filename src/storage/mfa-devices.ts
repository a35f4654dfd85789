import { AppError } from '../lib/errors.ts'
import type { Executor } from './database.ts'
import type { Tables } from './tables.ts'

/**
 * A second factor of a user. `document` is the sealed secret of an authenticator app, or JSON with the public key of a passkey.
 * `counter` is the last time step of which a code was used, or the last signature counter.
 */
export type MfaDevice = Tables['mfa_devices']

const MAX_DEVICES = 10

/** Throws `already_exists` for a name or passkey that is there already, `resource_exhausted` when the user has enough. */
export async function createMfaDevice(db: Executor, device: Omit<MfaDevice, 'last_used_at'>): Promise<void> {
  const devices = await listMfaDevices(db, device.user)
  if (devices.length >= MAX_DEVICES)
    throw new AppError('resource_exhausted', `you have ${MAX_DEVICES} second factors already: remove one first`)
  if (devices.some(({ name }) => name === device.name))
    throw new AppError('already_exists', `you have a second factor called "${device.name}" already: choose another name`)
  const rows = await db
    .insertInto('mfa_devices')
    .values({ ...device, last_used_at: null })
    .onConflict((conflict) => conflict.doNothing())
    .returning('id')
    .execute()
  if (rows.length === 0) throw new AppError('already_exists', 'this passkey is registered already')
}

/** Of one user, oldest first. */
export async function listMfaDevices(db: Executor, user: string): Promise<MfaDevice[]> {
  return db.selectFrom('mfa_devices').selectAll().where('user', '=', user).orderBy('created_at').orderBy('id').execute()
}

export async function findMfaDeviceByCredential(db: Executor, credentialId: string): Promise<MfaDevice | undefined> {
  return db.selectFrom('mfa_devices').selectAll().where('credential_id', '=', credentialId).executeTakeFirst()
}

/**
 * Notes a use with its counter, which only ever grows: false when this or a later one was noted before, or the device is gone. Of callers
 * with the same counter exactly one hears true. A passkey that does not count says 0 each time.
 */
export async function useMfaDevice(db: Executor, id: string, counter: number, now: number): Promise<boolean> {
  const rows = await db
    .updateTable('mfa_devices')
    .set({ counter, last_used_at: now })
    .where('id', '=', id)
    .where((where) =>
      where.or([
        where('counter', '<', counter),
        ...(counter === 0 ? [where.and([where('counter', '=', 0), where('type', '=', 'webauthn')])] : []),
      ]),
    )
    .returning('id')
    .execute()
  return rows.length > 0
}

/** Whether there was one. */
export async function deleteMfaDevice(db: Executor, user: string, id: string): Promise<boolean> {
  const rows = await db.deleteFrom('mfa_devices').where('id', '=', id).where('user', '=', user).returning('id').execute()
  return rows.length > 0
}

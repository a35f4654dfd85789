import { DatabaseSync } from 'node:sqlite'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { deleteLocalCredential } from './credentials.ts'
import type { Database } from './database.ts'
import { createMfaDevice, deleteMfaDevice, findMfaDeviceByCredential, listMfaDevices, useMfaDevice } from './mfa-devices.ts'
import { initial } from './migrations/0001-initial.ts'
import { accounts } from './migrations/0002-accounts.ts'
import { eventIndexes } from './migrations/0003-event-indexes.ts'
import { mcpNames } from './migrations/0004-mcp-names.ts'
import { oauth } from './migrations/0005-oauth.ts'
import { upstreamAccounts } from './migrations/0006-upstream-accounts.ts'
import { changes } from './migrations/0007-changes.ts'
import { migrateSqlite, openSqlite } from './sqlite.ts'
import { freshStore, STORES } from './stores.fixture.ts'

describe.each(STORES)('on %s', (type) => {
  let db: Database
  beforeEach(async () => {
    db = await freshStore(type)
  })
  afterEach(() => db.close())

  const passkey = {
    id: 'd1',
    user: 'ana',
    name: 'laptop',
    type: 'webauthn',
    credential_id: 'c1',
    document: '{}',
    counter: 0,
    created_at: 1,
  } as const
  const app = { ...passkey, id: 'd2', name: 'phone', type: 'totp', credential_id: null, counter: 100, created_at: 2 } as const

  test('a name, a passkey and more than ten are refused', async () => {
    await createMfaDevice(db, passkey)
    await expect(createMfaDevice(db, { ...app, name: 'laptop' })).rejects.toMatchObject({ code: 'already_exists' })
    await expect(createMfaDevice(db, { ...passkey, id: 'd3', user: 'bob' })).rejects.toMatchObject({ code: 'already_exists' })
    for (let index = 2; index <= 10; index += 1) await createMfaDevice(db, { ...app, id: `e${index}`, name: `phone ${index}` })
    await expect(createMfaDevice(db, app)).rejects.toMatchObject({ code: 'resource_exhausted' })
    expect((await findMfaDeviceByCredential(db, 'c1'))?.user).toBe('ana')
  })

  test('a counter only grows, except that of a passkey that does not count', async () => {
    await createMfaDevice(db, passkey)
    await createMfaDevice(db, app)
    expect(await useMfaDevice(db, 'd1', 0, 5)).toBe(true)
    expect(await useMfaDevice(db, 'd1', 0, 6)).toBe(true)
    expect(await useMfaDevice(db, 'd1', 7, 7)).toBe(true)
    expect(await useMfaDevice(db, 'd1', 7, 8)).toBe(false)
    expect(await useMfaDevice(db, 'd1', 0, 8)).toBe(false)
    expect(await useMfaDevice(db, 'd2', 0, 8)).toBe(false)
    expect(await useMfaDevice(db, 'd2', 100, 8)).toBe(false)
    expect((await Promise.all([useMfaDevice(db, 'd2', 101, 8), useMfaDevice(db, 'd2', 101, 8)])).filter(Boolean)).toHaveLength(1)
    expect((await listMfaDevices(db, 'ana')).map(({ id, counter, last_used_at }) => [id, counter, last_used_at])).toEqual([
      ['d1', 7, 7],
      ['d2', 101, 8],
    ])
  })

  test('nobody deletes those of somebody else, and they go with the credentials', async () => {
    await createMfaDevice(db, passkey)
    await createMfaDevice(db, app)
    expect(await deleteMfaDevice(db, 'eve', 'd1')).toBe(false)
    expect(await deleteMfaDevice(db, 'ana', 'd1')).toBe(true)
    await deleteLocalCredential(db, 'ana')
    expect(await listMfaDevices(db, 'ana')).toEqual([])
  })
})

test('the one-time code of a database of before becomes a device, with the last code that was used', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'sallyport-mfa-'))
  const file = join(directory, 'old.db')
  const connection = new DatabaseSync(file)
  migrateSqlite(connection, [initial, accounts, eventIndexes, mcpNames, oauth, upstreamAccounts, changes])
  connection.exec(`insert into local_credentials values ('ana', 'h', 'sealed', 9), ('bob', 'h', null, 9), ('eve', 'h', 'sealed too', 9);
    insert into used_codes values ('ana', 500), ('ana', 501)`)
  connection.close()
  const later = openSqlite(file)
  expect(await listMfaDevices(later, 'ana')).toMatchObject([{ name: 'otp', type: 'totp', document: 'sealed', counter: 501, created_at: 9 }])
  expect(await listMfaDevices(later, 'bob')).toEqual([])
  expect(await listMfaDevices(later, 'eve')).toMatchObject([{ document: 'sealed too', counter: 0 }])
  await later.close()
  rmSync(directory, { recursive: true })
})

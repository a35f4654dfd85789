import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  createApiTokenRow,
  deleteApiTokenRow,
  deleteApiTokensOf,
  deleteExpiredApiTokens,
  findApiToken,
  listApiTokenRows,
  touchApiToken,
} from './api-tokens.ts'
import {
  consumeInvite,
  createInvite,
  deleteExpiredInvites,
  deleteLocalCredential,
  findAccountId,
  findInvite,
  findLocalCredential,
  setAccountId,
  setLocalCredential,
} from './credentials.ts'
import type { Database } from './database.ts'
import { deleteSecret, findSecret, insertSecretIfAbsent, setSecret } from './secrets.ts'
import { freshStore, STORES } from './stores.fixture.ts'

describe.each(STORES)('on %s', (type) => {
  let db: Database
  beforeEach(async () => {
    db = await freshStore(type)
  })
  afterEach(() => db.close())

  const invite = { token_hash: 'h1', user: 'ana', purpose: 'signup', expires_at: 1000, created_at: 1 } as const

  test('an account id is replaced, and goes with the credentials', async () => {
    expect(await findAccountId(db, 'ana')).toBeUndefined()
    await setAccountId(db, 'ana', 'one')
    await setAccountId(db, 'ana', 'two')
    expect(await findAccountId(db, 'ana')).toBe('two')
    await deleteLocalCredential(db, 'ana')
    expect(await findAccountId(db, 'ana')).toBeUndefined()
  })

  test('an invite is used once, not after its time, and not when a newer one was made', async () => {
    await createInvite(db, invite)
    expect(await consumeInvite(db, 'h2', 1)).toBeUndefined()
    expect(await consumeInvite(db, 'h1', 1000)).toBeUndefined()
    expect(await findInvite(db, 'h1', 999)).toEqual(invite)
    const race = await Promise.all([1, 2, 3].map(() => consumeInvite(db, 'h1', 999)))
    expect(race.filter((won) => won !== undefined)).toEqual([invite])

    await createInvite(db, { ...invite, token_hash: 'older' })
    await createInvite(db, { ...invite, token_hash: 'newer', purpose: 'reset' })
    expect(await findInvite(db, 'older', 1)).toBeUndefined()
    await deleteExpiredInvites(db, 1000)
    expect(await findInvite(db, 'newer', 1)).toBeUndefined()
  })

  test('dropping a credential drops the links with it', async () => {
    const credential = { user: 'ana', password_hash: '$argon2id$…', updated_at: 5 }
    await setLocalCredential(db, credential)
    await setLocalCredential(db, { ...credential, password_hash: 'newer', updated_at: 6 })
    expect(await findLocalCredential(db, 'ana')).toEqual({ ...credential, password_hash: 'newer', updated_at: 6 })
    await createInvite(db, invite)
    expect(await deleteLocalCredential(db, 'ana')).toBe(true)
    expect(await deleteLocalCredential(db, 'ana')).toBe(false)
    expect(await findLocalCredential(db, 'ana')).toBeUndefined()
    expect(await consumeInvite(db, 'h1', 1)).toBeUndefined()
  })

  const token = {
    id: 't1',
    user: 'ana',
    name: 'ci',
    hash: 'h',
    servers: ['everything'],
    roles: null,
    created_at: 1,
    created_by: 'ana',
    expires_at: 1_000_000,
  }

  test('an API token of somebody else cannot be deleted, and an unknown one neither', async () => {
    await createApiTokenRow(db, token)
    await expect(deleteApiTokenRow(db, 't1', 'eve')).rejects.toMatchObject({ code: 'not_found', message: 'API token "t1" not found' })
    await expect(deleteApiTokenRow(db, 't2')).rejects.toMatchObject({ code: 'not_found' })
    expect(await deleteApiTokenRow(db, 't1', 'ana')).toEqual({ ...token, last_used_at: null })
    expect(await findApiToken(db, 't1')).toBeUndefined()
  })

  test('API tokens are listed by user, touched once a minute at most, and go with time or user', async () => {
    await createApiTokenRow(db, token)
    await createApiTokenRow(db, { ...token, id: 't2', user: 'bob', roles: ['dev'], servers: null, created_at: 2, expires_at: 500 })
    await createApiTokenRow(db, { ...token, id: 't3', created_at: 0 })
    expect((await listApiTokenRows(db)).map(({ id }) => id)).toEqual(['t3', 't1', 't2'])
    expect((await listApiTokenRows(db, 'bob')).map(({ id, roles, servers }) => [id, roles, servers])).toEqual([['t2', ['dev'], null]])

    for (const now of [100_000, 100_001, 159_999]) await touchApiToken(db, 't1', now)
    expect((await findApiToken(db, 't1'))?.last_used_at).toBe(100_000)
    await touchApiToken(db, 't1', 160_000)
    expect((await findApiToken(db, 't1'))?.last_used_at).toBe(160_000)

    expect(await deleteExpiredApiTokens(db, 500)).toEqual(['t2'])
    expect((await deleteApiTokensOf(db, 'ana')).sort()).toEqual(['t1', 't3'])
    expect(await listApiTokenRows(db)).toEqual([])
  })

  test('secrets are set, replaced, kept by the first, deleted', async () => {
    expect(await findSecret(db, 'ca')).toBeUndefined()
    expect(await insertSecretIfAbsent(db, 'ca', 'one')).toBe('one')
    expect(await insertSecretIfAbsent(db, 'ca', 'two')).toBe('one')
    await setSecret(db, 'ca', 'three')
    expect(await findSecret(db, 'ca')).toBe('three')
    expect(await deleteSecret(db, 'ca')).toBe(true)
    expect(await deleteSecret(db, 'ca')).toBe(false)
  })
})

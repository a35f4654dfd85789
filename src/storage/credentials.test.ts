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
  consumeLoginFlow,
  createInvite,
  createLoginFlow,
  deleteExpiredInvites,
  deleteLocalCredential,
  findAccountId,
  findInvite,
  findLocalCredential,
  findLoginFlow,
  markTotpUsed,
  setAccountId,
  setLocalCredential,
  updateLoginFlow,
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
    expect(race).toEqual([invite, undefined, undefined])

    await createInvite(db, { ...invite, token_hash: 'older' })
    await createInvite(db, { ...invite, token_hash: 'newer', purpose: 'reset' })
    expect(await findInvite(db, 'older', 1)).toBeUndefined()
    await deleteExpiredInvites(db, 1000)
    expect(await findInvite(db, 'newer', 1)).toBeUndefined()
  })

  test('a one-time code is accepted once for each user', async () => {
    expect(await markTotpUsed(db, 'ana', 500)).toBe(true)
    expect(await Promise.all([markTotpUsed(db, 'ana', 500), markTotpUsed(db, 'ana', 501), markTotpUsed(db, 'ana', 501)])).toEqual([
      false,
      true,
      false,
    ])
    expect(await markTotpUsed(db, 'bob', 500)).toBe(true)
    expect(await markTotpUsed(db, 'ana', 600)).toBe(true)
    expect(await markTotpUsed(db, 'ana', 500)).toBe(false)
  })

  test('dropping a credential drops the links with it', async () => {
    const credential = { user: 'ana', password_hash: '$argon2id$…', totp_sealed: null, updated_at: 5 }
    await setLocalCredential(db, credential)
    await setLocalCredential(db, { ...credential, totp_sealed: 'sealed', updated_at: 6 })
    expect(await findLocalCredential(db, 'ana')).toEqual({ ...credential, totp_sealed: 'sealed', updated_at: 6 })
    await createInvite(db, invite)
    expect(await deleteLocalCredential(db, 'ana')).toBe(true)
    expect(await deleteLocalCredential(db, 'ana')).toBe(false)
    expect(await findLocalCredential(db, 'ana')).toBeUndefined()
    expect(await consumeInvite(db, 'h1', 1)).toBeUndefined()
  })

  test('a sign-in flow ends once; their number and size are bounded', async () => {
    await expect(createLoginFlow(db, { id: 'big', document: 'x'.repeat(17_000), expires_at: 9 }, 1)).rejects.toMatchObject({
      code: 'invalid_argument',
    })
    await createLoginFlow(db, { id: 'f', document: { step: 1 }, expires_at: 100 }, 1)
    expect(await updateLoginFlow(db, 'f', { step: 2 }, 99)).toBe(true)
    expect(await updateLoginFlow(db, 'f', { step: 3 }, 100)).toBe(false)
    expect(await findLoginFlow(db, 'f', 100)).toBeUndefined()
    expect(await findLoginFlow(db, 'f', 99)).toEqual({ step: 2 })
    expect(await consumeLoginFlow(db, 'f', 100)).toBeUndefined()
    expect(await Promise.all([consumeLoginFlow(db, 'f', 99), consumeLoginFlow(db, 'f', 99)])).toEqual([{ step: 2 }, undefined])

    const rows = Array.from({ length: 10_000 }, (_, index) => ({ id: `n${index}`, document: '{}', expires_at: 100 }))
    for (let from = 0; from < rows.length; from += 5000)
      await db
        .insertInto('login_flows')
        .values(rows.slice(from, from + 5000))
        .execute()
    await expect(createLoginFlow(db, { id: 'more', document: {}, expires_at: 200 }, 99)).rejects.toMatchObject({
      code: 'resource_exhausted',
    })
    await createLoginFlow(db, { id: 'more', document: {}, expires_at: 200 }, 100)
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

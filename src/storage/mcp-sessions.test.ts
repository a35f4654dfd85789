import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { transact, type Database } from './database.ts'
import { deleteExpiredSessions, findSession, keepSession, takeSession } from './mcp-sessions.ts'
import { freshStore, STORES } from './stores.fixture.ts'

describe.each(STORES)('on %s', (type) => {
  let db: Database
  beforeEach(async () => {
    db = await freshStore(type)
  })
  afterEach(() => db.close())

  const NOW = 1_800_000_000_000
  const keep = (name: string, body: string, revision: number, { owner = 'ana', expiresAt = NOW + 1000, now = NOW, max = 3 } = {}) =>
    transact(db, (tx) => keepSession(tx, { name, owner, body, revision, expiresAt }, now, max))

  test('what another wrote meanwhile is not written over', async () => {
    expect(await keep('s', 'one', 1)).toBe(false)
    expect(await keep('s', 'one', 0)).toBe(true)
    expect(await keep('s', 'two', 0)).toBe(false)
    expect(await keep('s', 'two', 1)).toBe(true)
    expect(await findSession(db, 's', NOW)).toEqual({ body: 'two', revision: 2 })
  })

  test('exactly one takes it, and nobody what has expired', async () => {
    await keep('s', 'one', 0)
    expect((await Promise.all([takeSession(db, 's', NOW), takeSession(db, 's', NOW)])).filter(Boolean)).toEqual(['one'])
    await keep('s', 'one', 0)
    expect(await findSession(db, 's', NOW + 1000)).toBeUndefined()
    expect(await keep('s', 'new', 0, { now: NOW + 1000, expiresAt: NOW + 2000 })).toBe(true)
    expect(await takeSession(db, 's', NOW + 2000)).toBeUndefined()
  })

  test('of one owner the oldest go; of others none', async () => {
    await keep('other', 'x', 0, { owner: 'bob' })
    for (let i = 0; i < 5; i++) await keep(`s${i}`, 'x', 0, { now: NOW + i })
    const rows = await db.selectFrom('mcp_sessions').select('name').orderBy('name').execute()
    expect(rows.map(({ name }) => name)).toEqual(['other', 's2', 's3', 's4'])
    await deleteExpiredSessions(db, NOW + 1000)
    expect(await db.selectFrom('mcp_sessions').selectAll().execute()).toEqual([])
  })
})

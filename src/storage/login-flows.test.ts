import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Database } from './database.ts'
import { consumeLoginFlow, createLoginFlow, findLoginFlow, updateLoginFlow } from './login-flows.ts'
import { freshStore, STORES } from './stores.fixture.ts'

describe.each(STORES)('on %s', (type) => {
  let db: Database
  beforeEach(async () => {
    db = await freshStore(type)
  })
  afterEach(() => db.close())

  /** As if somebody had begun so many before. */
  async function fill(count: number, of: (index: number) => { address: string; created_at: number }): Promise<void> {
    const rows = Array.from({ length: count }, (_, index) => ({
      id: `n${index}`,
      user: null,
      document: '{}',
      expires_at: 100,
      ...of(index),
    }))
    for (let from = 0; from < rows.length; from += 2500)
      await db
        .insertInto('login_flows')
        .values(rows.slice(from, from + 2500))
        .execute()
  }

  const flow = (id: string, address = '192.0.2.1') => ({ id, address, document: { id }, expires_at: 100 })
  const isThere = async (id: string) => (await findLoginFlow(db, id, 1)) !== undefined

  test('one that is too large, and one too many of an address, is refused', async () => {
    await expect(createLoginFlow(db, { ...flow('big'), document: 'x'.repeat(17_000) }, 1)).rejects.toMatchObject({
      code: 'invalid_argument',
    })
    await fill(1000, () => ({ address: '192.0.2.66', created_at: 1 }))
    await expect(createLoginFlow(db, flow('more', '192.0.2.66'), 99)).rejects.toMatchObject({ code: 'resource_exhausted' })
    await createLoginFlow(db, flow('other'), 99)
    await createLoginFlow(db, { ...flow('more', '192.0.2.66'), expires_at: 200 }, 100)
  })

  test('a flow is changed and ends once', async () => {
    await createLoginFlow(db, flow('f'), 1)
    expect(await updateLoginFlow(db, 'f', { step: 2 }, 99)).toBe(true)
    expect(await updateLoginFlow(db, 'f', { step: 3 }, 100)).toBe(false)
    expect(await findLoginFlow(db, 'f', 100)).toBeUndefined()
    expect(await findLoginFlow(db, 'f', 99)).toEqual({ step: 2 })
    expect(await consumeLoginFlow(db, 'f', 100)).toBeUndefined()
    const race = await Promise.all([consumeLoginFlow(db, 'f', 99), consumeLoginFlow(db, 'f', 99)])
    expect(race.filter((won) => won !== undefined)).toEqual([{ step: 2 }])
  })

  test('a flood from many addresses pushes out its own, not somebody who came before', async () => {
    await createLoginFlow(db, flow('mine'), 1)
    await fill(9999, (index) => ({ address: `2001:db8:0:${index % 12}::/64`, created_at: 2 + index }))
    for (const id of ['a', 'b', 'c']) await createLoginFlow(db, flow(id, '198.51.100.1'), 50)
    expect(await Promise.all(['mine', 'a', 'b', 'c'].map(isThere))).toEqual([true, true, true, true])
    const { count } = await db.selectFrom('login_flows').select(db.fn.countAll<number>().as('count')).executeTakeFirstOrThrow()
    expect(count).toBe(10_000)
  })

  test('the newest of one user push out the oldest of the same', async () => {
    for (let index = 0; index < 25; index += 1) await createLoginFlow(db, { ...flow(`u${index}`), user: 'ana' }, index)
    await createLoginFlow(db, { ...flow('bob'), user: 'bob' }, 30)
    expect(await Promise.all(['u4', 'u5', 'u24', 'bob'].map(isThere))).toEqual([false, true, true, true])
  })
})

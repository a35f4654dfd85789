import { beforeEach, describe, expect, test } from 'vitest'
import { deleteChangesBefore, getChangeSeq, listChanges, listRecentChanges, noteChange } from './changes.ts'
import { transact } from './database.ts'
import type { Database } from './database.ts'
import { countAttempt, deleteExpiredMarks, dropLease, forgetAttempts, takeLease, uncountAttempt, useOnce } from './shared-marks.ts'
import type { StoreLocation } from './store.ts'
import { freshLocation, reopen, STORES } from './stores.fixture.ts'

describe.each(STORES)('two processes on %s', (type) => {
  let location: StoreLocation
  let a: Database
  let b: Database
  beforeEach(async () => {
    location = await freshLocation(type)
    ;[a, b] = [await reopen(location), await reopen(location)]
    return async () => await Promise.all([a.close(), b.close()])
  })
  const note = (db: Database, name: string, at = 1): Promise<number> =>
    transact(db, (tx) => noteChange(tx, { type: 'revoked', kind: 'oauth', name }, at))

  test('number what they change without gaps, and what is undone has no number', async () => {
    expect(await note(a, 'one')).toBe(1)
    await expect(
      transact(b, async (tx) => {
        await noteChange(tx, { type: 'put', kind: 'user', name: 'nobody' }, 1)
        throw new Error('no')
      }),
    ).rejects.toThrow('no')
    expect(await note(b, 'two')).toBe(2)
    expect(await getChangeSeq(a)).toBe(2)
    expect(await listChanges(a, 1, 10)).toEqual([{ seq: 2, type: 'revoked', kind: 'oauth', name: 'two', at: 1 }])
    expect((await listChanges(a, 0, 1)).map(({ name }) => name)).toEqual(['one'])
  })

  test('forget what is old, but nothing behind something that is kept', async () => {
    for (const [name, at] of Object.entries({ a: 10, b: 30, c: 20, d: 40 })) await note(a, name, at)
    await deleteChangesBefore(b, 30)
    expect((await listChanges(a, 0, 10)).map(({ name }) => name)).toEqual(['b', 'c', 'd'])
    expect((await listRecentChanges(a, 0, 2)).map(({ name }) => name)).toEqual(['c', 'd'])
    await deleteChangesBefore(b, 41)
    expect(await listChanges(a, 0, 10)).toEqual([])
    expect(await note(a, 'e')).toBe(5)
  })

  test('use an id once between them, until it is over', async () => {
    expect(await useOnce(a, 'id', 100)).toBe(true)
    expect(await useOnce(b, 'id', 100)).toBe(false)
    await deleteExpiredMarks(b, 99)
    expect(await useOnce(a, 'id', 100)).toBe(false)
    await deleteExpiredMarks(b, 100)
    expect(await useOnce(a, 'id', 100)).toBe(true)
  })

  test('hold a lease one at a time; that of one who is gone ends', async () => {
    expect(await takeLease(a, 'job', 'a', 100, 0)).toBe(true)
    expect(await takeLease(b, 'job', 'b', 150, 99)).toBe(false)
    expect(await takeLease(a, 'job', 'a', 120, 99)).toBe(true)
    expect(await takeLease(b, 'job', 'b', 150, 119)).toBe(false)
    expect(await takeLease(b, 'job', 'b', 150, 120)).toBe(true)
    await dropLease(a, 'job', 'a')
    expect(await takeLease(a, 'job', 'a', 160, 121)).toBe(false)
    await dropLease(b, 'job', 'b')
    expect(await takeLease(a, 'job', 'a', 160, 121)).toBe(true)
  })

  test('count together', async () => {
    expect(await countAttempt(a, 'k', 100, 0)).toEqual({ count: 1, expiresAt: 100 })
    expect(await countAttempt(b, 'k', 100, 50)).toEqual({ count: 2, expiresAt: 100 })
    await uncountAttempt(a, 'k')
    expect(await countAttempt(a, 'k', 100, 99)).toEqual({ count: 2, expiresAt: 100 })
    expect(await countAttempt(b, 'k', 100, 100)).toEqual({ count: 1, expiresAt: 200 })
    await forgetAttempts(a, 'k')
    await uncountAttempt(a, 'k')
    expect(await countAttempt(b, 'k', 100, 100)).toEqual({ count: 1, expiresAt: 200 })
  })

  // Two connections to one file in one thread would wait for each other for ever.
  test.skipIf(type === 'sqlite')('at once: numbers are seen in their order, an id is used once, every attempt counts', async () => {
    const seen: number[] = []
    const look = async (): Promise<void> => {
      for (let last = 0; last < 40;) {
        for (const { seq } of await listChanges(b, last, 100)) {
          seen.push(seq)
          last = seq
        }
      }
    }
    const writing = Array.from({ length: 40 }, (_, index) => note(index % 2 === 0 ? a : b, `n${index}`))
    await Promise.all([look(), ...writing])
    expect(seen).toEqual(Array.from({ length: 40 }, (_, index) => index + 1))
    const used = await Promise.all(Array.from({ length: 20 }, (_, index) => useOnce(index % 2 === 0 ? a : b, 'race', 100)))
    expect(used.filter(Boolean)).toHaveLength(1)
    const counts = await Promise.all(Array.from({ length: 20 }, (_, index) => countAttempt(index % 2 === 0 ? a : b, 'race', 100, 0)))
    expect(Math.max(...counts.map(({ count }) => count))).toBe(20)
  })
})

import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { foldName, isExposedName } from '../lib/exposed-name.ts'
import type { Database } from './database.ts'
import { assignNames, findName } from './mcp-names.ts'
import { freshLocation, freshStore, reopen, STORES } from './stores.fixture.ts'

describe.each(STORES)('on %s', (type) => {
  let db: Database
  beforeEach(async () => {
    db = await freshStore(type)
  })
  afterEach(() => db.close())

  const NOW = 1_800_000_000_000
  const tools = (server: string, ...originals: string[]) => assignNames(db, { what: 'tool', server, originals, now: NOW })

  test('hostile names, and more than a server may have, get none, and take none away', async () => {
    expect(await tools('s', '', 'x'.repeat(1025), 'a\0b', '\ud800')).toEqual([null, null, null, null])
    const few = (...originals: string[]) => assignNames(db, { what: 'tool', server: 's', originals, now: NOW, maxPerServer: 2 })
    expect(await few('one', 'two', 'three')).toEqual(['s_one', 's_two', null])
    expect(await few('three', 'two', 'one')).toEqual([null, 's_two', 's_one'])
    expect(await assignNames(db, { what: 'prompt', server: 's', originals: ['three'], now: NOW, maxPerServer: 2 })).toEqual(['s_three'])
    expect(await findName(db, 'tool', 's_three')).toBeUndefined()
  })

  test('only the exact name finds, and only of its kind', async () => {
    await tools('git', 'log')
    expect(await findName(db, 'tool', 'git_log')).toEqual({ server: 'git', original: 'log' })
    expect(await findName(db, 'tool', 'GIT_log')).toBeUndefined()
    expect(await findName(db, 'tool', 'git-log')).toBeUndefined()
    expect(await findName(db, 'prompt', 'git_log')).toBeUndefined()
  })

  test('who comes first keeps the name, and the other gets one with a hash', async () => {
    expect(await tools('a_b', 'c')).toEqual(['a_b_c'])
    const [second] = await tools('a', 'b_c')
    expect(second).toMatch(/^a_b_c_[a-z2-7]{6}$/)
    expect(await tools('A', 'B-C')).toEqual([expect.stringMatching(/^A_B-C_[a-z2-7]{6}$/)])
    expect(await tools('a_b', 'c')).toEqual(['a_b_c'])
    expect(await tools('a', 'b_c', 'b_c')).toEqual([second, second])
    expect(await findName(db, 'tool', second ?? '')).toEqual({ server: 'a', original: 'b_c' })
  })

  test('a name that was taken with its hash leaves a longer hash', async () => {
    const [hashed] = await tools('s', 'a.b')
    await db.deleteFrom('mcp_names').execute()
    const stranger = (hashed ?? '').slice('s_'.length)
    expect(await tools('s', stranger)).toEqual([hashed])
    expect(await tools('s', 'a.b')).toEqual([expect.stringMatching(/^s_a_b_[a-z2-7]{12}$/)])
  })

  test('names are the same after a restart', async () => {
    const location = await freshLocation(type)
    const originals = ['log', 'a.b', 'x'.repeat(100)]
    const first = await reopen(location)
    const given = await assignNames(first, { what: 'tool', server: 'git', originals, now: NOW })
    await first.close()
    const second = await reopen(location)
    expect(await assignNames(second, { what: 'tool', server: 'git', originals: originals.toReversed(), now: NOW })).toEqual(
      given.toReversed(),
    )
    await second.close()
  })

  test('whatever servers call their tools, names are legal, unique after folding, and stay', async () => {
    const server = fc.constantFrom('a', 'A', 'a_b', 'a-b', 'a.b', 'search', 'call')
    const original = fc.oneof(
      fc.constantFrom('b_c', 'c', 'B-C', 'b.c', 'tools', 'tool', 'a_b_c'),
      fc.string({ unit: 'binary', maxLength: 60 }),
    )
    const lists = fc.array(fc.tuple(server, fc.array(original, { maxLength: 8 })), { maxLength: 6 })
    await fc.assert(
      fc.asyncProperty(lists, async (asked) => {
        const given = new Map<string, string | null>()
        for (const [name, originals] of [...asked, ...asked.toReversed()]) {
          const exposed = await tools(name, ...originals)
          for (const [index, one] of originals.entries()) {
            const key = JSON.stringify([name, one])
            if (given.has(key)) expect(exposed[index]).toBe(given.get(key))
            given.set(key, exposed[index] ?? null)
          }
        }
        const names = [...given.values()].filter((name) => name !== null)
        expect(names.filter((name) => !isExposedName(name))).toEqual([])
        expect(new Set(names.map(foldName)).size).toBe(names.length)
        for (const [key, name] of given) {
          const [owner, one] = JSON.parse(key)
          if (name !== null) expect(await findName(db, 'tool', name)).toEqual({ server: owner, original: one })
        }
      }),
      { numRuns: 60 },
    )
  })
})

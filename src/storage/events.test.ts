import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { renderChained, verifyChain } from '../audit/chain.ts'
import type { AuditEvent } from '../audit/event.ts'
import type { Database } from './database.ts'
import { appendEvents, deleteEventsBefore, findAnchor, getChainHead, searchEvents } from './events.ts'
import { freshStore, STORES } from './stores.fixture.ts'

describe.each(STORES)('on %s', (type) => {
  let db: Database
  beforeEach(async () => {
    db = await freshStore(type)
  })
  afterEach(() => db.close())

  function event(uid: string, fields: Partial<AuditEvent> = {}): AuditEvent {
    return { event: 'user.login', code: 'T1000I', time: '2026-01-02T03:04:05.678Z', uid, ei: 0, cluster_name: 'example', ...fields }
  }

  const GENESIS = 'a9949ef9d69201acceb77554449dee0c90c3838d04339df1640df7a3764eeeef'
  const all = async (): Promise<string[]> =>
    (await searchEvents(db, { limit: 1000 })).events.map((stored) => renderChained(stored.text, stored))

  describe('the chain', () => {
    test('a batch that cannot be kept whole is not kept at all', async () => {
      await expect(appendEvents(db, [event('a'), event('b', { time: 'never' })], 'example')).rejects.toMatchObject({
        code: 'invalid_argument',
      })
      expect(await all()).toEqual([])
    })

    test('an event is kept once, whoever sends it again', async () => {
      expect((await appendEvents(db, [event('a'), event('b'), event('a')], 'example')).map(({ seq, uid }) => [seq, uid])).toEqual([
        [1, 'a'],
        [2, 'b'],
      ])
      expect((await appendEvents(db, [event('b', { user: 'eve' }), event('c')], 'example')).map(({ seq, uid }) => [seq, uid])).toEqual([
        [3, 'c'],
      ])
      expect(await appendEvents(db, [], 'example')).toEqual([])
    })

    test('it begins with the cluster, goes through all batches, and a touched row breaks it', async () => {
      expect(await getChainHead(db, 'example')).toEqual({ seq: 0, hash: GENESIS })
      await Promise.all(
        Array.from({ length: 5 }, (_, batch) =>
          appendEvents(
            db,
            Array.from({ length: 60 }, (_, index) => event(`${batch}-${index}`)),
            'example',
          ),
        ),
      )
      const head = await getChainHead(db, 'example')
      expect(head.seq).toBe(300)
      expect(await verifyChain(await all(), { expectLast: head })).toMatchObject({ ok: true, count: 300, startsAt: 1 })
      await db
        .updateTable('events')
        .set({ document: JSON.stringify(event('x', { user: 'eve' })) })
        .where('seq', '=', 7)
        .execute()
      expect(await verifyChain(await all())).toMatchObject({ ok: false, count: 6, firstBroken: { line: 7, seq: 7 } })
    })

    test('forgetting old events leaves an anchor on which it goes on', async () => {
      await appendEvents(
        db,
        ['a', 'b', 'c', 'd'].map((uid) => event(uid)),
        'example',
      )
      const { events } = await searchEvents(db, {})
      expect(await deleteEventsBefore(db, 1)).toBe(0)
      expect(await findAnchor(db)).toBeUndefined()
      expect(await deleteEventsBefore(db, 3)).toBe(2)
      expect(await findAnchor(db)).toEqual({ seq: 2, hash: events[1]?.hash })
      expect(await verifyChain(await all(), { expectFirst: { seq: 3, prev: events[1]?.hash ?? '' } })).toMatchObject({
        ok: true,
        startsAt: 3,
      })
      expect(await deleteEventsBefore(db, 100)).toBe(2)
      expect(await getChainHead(db, 'example')).toEqual({ seq: 4, hash: events[3]?.hash })
      expect((await appendEvents(db, [event('e')], 'example'))[0]).toMatchObject({ seq: 5, prev: events[3]?.hash })
    })
  })

  test('forgetting many goes in slices, each of which leaves a chain', async () => {
    const many = (count: number, from: number) => Array.from({ length: count }, (_, index) => event(`n${from + index}`))
    await appendEvents(db, many(6000, 0), 'example')
    await appendEvents(db, many(6000, 6000), 'example')
    expect(await deleteEventsBefore(db, 11_001)).toBe(11_000)
    const anchor = await findAnchor(db)
    expect(anchor?.seq).toBe(11_000)
    expect(await verifyChain(await all(), { expectFirst: { seq: 11_001, prev: anchor?.hash ?? '' } })).toMatchObject({
      ok: true,
      count: 1000,
    })
    expect(await deleteEventsBefore(db, 11_001)).toBe(0)
  })

  describe('search', () => {
    beforeEach(async () => {
      await appendEvents(
        db,
        [
          event('1', { user: 'ana', time: '2026-01-01T00:00:00.000Z', outcome: 'success' }),
          event('2', { user: 'eve', time: '2026-01-02T00:00:00.000Z', outcome: 'failure', error: '100% "wrong"\n_back\\slash' }),
          event('3', {
            event: 'mcp.session.request',
            user: 'ana',
            server: 'everything',
            tool: 'echo',
            sid: 's1',
            time: '2026-01-03T00:00:00.000Z',
          }),
          event('4', {
            event: 'mcp.session.request',
            user: 'ana',
            server: 'everything',
            tool: 'add',
            sid: 's1',
            time: '2026-01-04T00:00:00.000Z',
          }),
        ],
        'example',
      )
    })
    const uids = async (query: Parameters<typeof searchEvents>[1]): Promise<string> =>
      (await searchEvents(db, query)).events.map(({ uid }) => uid).join('')

    test('limits out of range are refused', async () => {
      for (const limit of [0, 1001, 1.5]) await expect(searchEvents(db, { limit })).rejects.toThrow('limit must be from 1 to 1000')
    })

    test.each([
      [{}, '1234'],
      [{ order: 'desc' }, '4321'],
      [{ from: Date.UTC(2026, 0, 2), to: Date.UTC(2026, 0, 3) }, '23'],
      [{ type: 'mcp.session.request' }, '34'],
      [{ type: ['user.login', 'x'], user: 'ana' }, '1'],
      [{ type: [] }, ''],
      [{ server: 'everything', tool: 'add' }, '4'],
      [{ outcome: 'failure' }, '2'],
      [{ sid: 's1' }, '34'],
      [{ text: 'WRONG', limit: 1 }, '2'],
      [{ text: '100%' }, '2'],
      [{ text: '0%w' }, ''],
      [{ text: '_back' }, '2'],
      [{ text: 'b_ck' }, ''],
      [{ text: '"wrong"\n_back\\slash' }, '2'],
      [{ text: 'ana', order: 'desc', server: 'everything' }, '43'],
      [{ text: 'ana', after: 1 }, '34'],
      [{ text: 'ana', after: 3, order: 'desc' }, '1'],
      [{ after: 2 }, '34'],
      [{ after: 3, order: 'desc' }, '21'],
    ] as const)('%o finds %s', async (query, expected) => {
      expect(await uids(query)).toBe(expected)
    })

    test.each([{}, { text: 'user.login' }])('pages with %o lead to the end in both directions', async (query) => {
      await appendEvents(
        db,
        Array.from({ length: 5000 }, (_, index) => event(`n${index}`)),
        'example',
      )
      for (const order of ['asc', 'desc'] as const) {
        const seqs: number[] = []
        for (let after: number | null | undefined; after !== null;) {
          const page = await searchEvents(db, { ...query, order, limit: 999, ...(after !== undefined && { after }) })
          seqs.push(...page.events.map(({ seq }) => seq))
          after = page.next
        }
        const expected = Array.from({ length: 5004 }, (_, index) => index + 1).filter((seq) => !query.text || (seq !== 3 && seq !== 4))
        expect(order === 'asc' ? seqs : seqs.reverse()).toEqual(expected)
      }
    })
  })
})

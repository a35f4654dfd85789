import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { renderChained, verifyChain } from '../audit/chain.ts'
import type { AuditEvent } from '../audit/event.ts'
import { cloneStore, isEmptyStore } from './clone.ts'
import type { Database } from './database.ts'
import { appendEvents, deleteEventsBefore, findAnchor, searchEvents } from './events.ts'
import { assignNames } from './mcp-names.ts'
import { setSecret } from './secrets.ts'
import { freshStore, STORES } from './stores.fixture.ts'

const NOW = 1_800_000_000_000
const GOING_ON = new AbortController().signal

function event(uid: string): AuditEvent {
  return { event: 'user.login', code: 'T1000I', time: '2026-01-02T03:04:05.678Z', uid, ei: 0, cluster_name: 'example', user: 'a\ud800' }
}

/** More than a page of everything that grows. */
async function fill(db: Database): Promise<void> {
  await setSecret(db, 'cluster', 'sealed')
  const originals = Array.from({ length: 450 }, (_, index) => `tool ${index} ${'é'.repeat(index % 7)}`)
  await assignNames(db, { what: 'tool', server: 'S', originals, now: NOW })
  await assignNames(db, { what: 'tool', server: 's', originals: ['a', 'B'], now: NOW })
  for (let batch = 0; batch < 6; batch++)
    await appendEvents(
      db,
      Array.from({ length: 100 }, (_, index) => event(`${batch}-${index}`)),
      'example',
    )
}

async function verify(db: Database, startsAt?: number) {
  const { events } = await searchEvents(db, { limit: 1000 })
  const anchor = await findAnchor(db)
  const lines = events.map((one) => renderChained(one.text, one))
  return await verifyChain(lines, startsAt === undefined || !anchor ? {} : { expectFirst: { seq: startsAt, prev: anchor.hash } })
}

describe.each(STORES.flatMap((from) => STORES.map((to) => ({ from, to }))))('from $from to $to', (types) => {
  let from: Database
  let to: Database
  beforeEach(async () => {
    ;[from, to] = [await freshStore(types.from), await freshStore(types.to)]
  })
  afterEach(async () => {
    await from.close()
    await to.close()
  })

  test('nothing is copied over something, and nothing is copied from nowhere', async () => {
    await expect(cloneStore(from, to, GOING_ON)).rejects.toThrow('the source holds no cluster')
    await fill(from)
    await to.insertInto('used_ids').values({ id: 'x', expires_at: 1 }).execute()
    await expect(cloneStore(from, to, GOING_ON)).rejects.toThrow('the destination is not empty')
    expect(await to.selectFrom('mcp_names').select('original').execute()).toEqual([])
  })

  test('a stop leaves nothing', async () => {
    await fill(from)
    await expect(cloneStore(from, to, AbortSignal.abort())).rejects.toMatchObject({ code: 'cancelled' })
    expect(await isEmptyStore(to)).toBe(true)
    expect(await to.selectFrom('counters').selectAll().execute()).toEqual([{ name: 'change_seq', value: 0 }])
  })

  test('all of it is there, the log as one chain that goes on', async () => {
    await fill(from)
    await deleteEventsBefore(from, 41)
    await from.updateTable('counters').set({ value: 7 }).execute()
    const cloned = await cloneStore(from, to, GOING_ON)
    expect(cloned).toEqual({
      rows: [
        { table: 'counters', count: 1 },
        { table: 'secrets', count: 1 },
        { table: 'mcp_names', count: 452 },
        { table: 'events', count: 560 },
        { table: 'event_anchor', count: 1 },
      ],
      broken: undefined,
    })
    const all = (db: Database) => db.selectFrom('mcp_names').selectAll().orderBy('what').orderBy('server').orderBy('original').execute()
    expect(await all(to)).toEqual(await all(from))
    expect(await to.selectFrom('counters').selectAll().execute()).toEqual([{ name: 'change_seq', value: 7 }])
    await appendEvents(to, [event('new')], 'example')
    expect(await verify(to, 41)).toMatchObject({ ok: true, count: 561 })
    await expect(cloneStore(from, to, GOING_ON)).rejects.toThrow('the destination is not empty')
  })

  test('a log that was broken before is copied as it is, and that is said', async () => {
    await fill(from)
    await from
      .updateTable('events')
      .set({ hash: 'f'.repeat(64) })
      .where('seq', '=', 300)
      .execute()
    expect(await cloneStore(from, to, GOING_ON)).toMatchObject({ broken: { seq: 300, reason: expect.stringContaining('changed') } })
  })
})

test.skipIf(!STORES.some((type) => type === 'postgresql'))('what PostgreSQL cannot hold is said, and nothing is copied', async () => {
  const [from, to] = [await freshStore('sqlite'), await freshStore('postgresql')]
  await fill(from)
  await from.insertInto('leases').values({ name: 'a\0b', holder: 'h', expires_at: 1 }).execute()
  await expect(cloneStore(from, to, GOING_ON)).rejects.toThrow('leases: a text contains the character NUL')
  expect(await isEmptyStore(to)).toBe(true)
  await from.close()
  await to.close()
})

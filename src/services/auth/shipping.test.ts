import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { eventually } from '../../../test/wait.ts'
import { verifyChain } from '../../audit/chain.ts'
import type { ChainedLines } from '../../audit/chain.ts'
import type { AuditEvent } from '../../audit/event.ts'
import { openSpool } from '../../audit/spool.ts'
import type { Shipping, Spool } from '../../audit/spool.ts'
import { silentLogger } from '../../lib/log.ts'
import type { Database } from '../../storage/database.ts'
import { appendEvents, searchEvents } from '../../storage/events.ts'
import type { StoreLocation } from '../../storage/store.ts'
import { freshLocation, reopen, STORES } from '../../storage/stores.fixture.ts'
import { startShippingThread } from './shipping.ts'

describe.each(STORES)('with its store in %s', (type) => {
  let directory = ''
  let db: Database
  let spool: Spool
  let told: ChainedLines[]
  let warnings: string[]
  let location: StoreLocation
  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'shipping-'))
    location = await freshLocation(type)
    db = await reopen(location)
    spool = openSpool(join(directory, 'spool'), { log: silentLogger })
    told = []
    warnings = []
  })
  afterEach(async () => {
    await spool.close()
    await db.close()
    rmSync(directory, { recursive: true, force: true })
  })

  const start = (store = location): Shipping =>
    startShippingThread({
      source: spool.source,
      store,
      clusterName: 'example',
      onAppended: (lines) => void told.push(lines),
      log: { ...silentLogger, warn: (message) => void warnings.push(message), error: (message) => void warnings.push(message) },
    })

  function event(uid: string, fields: Partial<AuditEvent> = {}): AuditEvent {
    return { event: 'user.login', code: 'T1000I', time: '2026-01-02T03:04:05.678Z', uid, ei: 0, cluster_name: 'example', ...fields }
  }
  const uids = async (): Promise<string[]> => (await searchEvents(db, {})).events.map(({ uid }) => uid)

  test('an event that the store cannot keep is set aside and stops nothing', async () => {
    const shipping = start()
    spool.point(event('bad', { time: 'never' }))
    spool.point(event('good'))
    await spool.flushed()
    await shipping.close()
    expect(await uids()).toEqual(['good'])
    expect(readFileSync(join(directory, 'spool', 'corrupt-1.jsonl'), 'utf8')).toContain('"uid":"bad"')
    expect(warnings).toEqual(['audit journal: a record was set aside'])
  })

  test('a store that cannot be opened loses nothing: the thread is started again', async () => {
    const shipping = start({ type, at: 'no\0such' })
    spool.point(event('a'))
    await spool.flushed()
    await eventually('the warning', () => (warnings.length > 0 ? true : undefined))
    await shipping.close()
    expect(await uids()).toEqual([])
    const next = start()
    await next.close()
    expect(await uids()).toEqual(['a'])
  })

  test('what comes while the thread sleeps is stored, in one chain with what others write', async () => {
    const shipping = start()
    for (const uid of ['a', 'b', 'c']) {
      const open = spool.start(uid, JSON.stringify(event(uid, { event: 'mcp.session.request' })))
      spool.end(open, '{"success":true}')
      await spool.flushed()
      await eventually(`event ${uid}`, async () => ((await uids()).includes(uid) ? true : undefined))
      await appendEvents(db, [event(`own-${uid}`)], 'example')
    }
    await shipping.close()
    expect(await uids()).toEqual(['a', 'own-a', 'b', 'own-b', 'c', 'own-c'])
    expect(told.map(({ first, last }) => [first.seq, last.seq])).toEqual([
      [1, 1],
      [3, 3],
      [5, 5],
    ])
    const lines = told.map(({ bytes }) => Buffer.from(bytes).toString()).join('')
    expect(lines.split('\n')[0]).toContain('"outcome":"success"')
    expect(await verifyChain(lines.split('\n').slice(0, 1))).toMatchObject({ ok: true, count: 1 })
  })

  test('close brings what is there', async () => {
    for (let index = 0; index < 1200; index += 1) spool.point(event(`u${index}`))
    await spool.flushed()
    await start().close()
    expect((await searchEvents(db, { order: 'desc', limit: 1 })).events[0]).toMatchObject({ seq: 1200, uid: 'u1199' })
  })
})

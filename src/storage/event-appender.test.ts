import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { parseChained, renderChained, verifyChain } from '../audit/chain.ts'
import type { AuditEvent } from '../audit/event.ts'
import type { Database } from './database.ts'
import type { EventAppender } from './event-appender.ts'
import { appendEvents, deleteEventsBefore, searchEvents } from './events.ts'
import { openEventAppender } from './store.ts'
import { freshLocation, reopen, STORES } from './stores.fixture.ts'

describe.each(STORES)('on %s', (type) => {
  let db: Database
  let appender: EventAppender
  beforeEach(async () => {
    const location = await freshLocation(type)
    db = await reopen(location)
    appender = await openEventAppender(location, 'example')
  })
  afterEach(async () => {
    await appender.close()
    await db.close()
  })

  function event(uid: string, fields: Partial<AuditEvent> = {}): AuditEvent {
    return { event: 'user.login', code: 'T1000I', time: '2026-01-02T03:04:05.678Z', uid, ei: 0, cluster_name: 'example', ...fields }
  }
  const stored = async (): Promise<string[]> => (await searchEvents(db, { limit: 1000 })).events.map((one) => renderChained(one.text, one))

  test('what no search could find is refused, with all that came with it', async () => {
    const broken: unknown = { ...event('b'), user: 7 }
    const isEvent = (value: unknown): value is AuditEvent => value === broken
    await expect(appender.append([event('a'), event('x', { time: 'never' })])).rejects.toThrow(
      'audit event x has no readable time, code or names',
    )
    await expect(appender.append([event('a'), ...[broken].filter(isEvent)])).rejects.toThrow('audit event b')
    expect(await appender.append([])).toBeUndefined()
    expect(await stored()).toEqual([])
    expect((await appender.append([event('a')]))?.last.seq).toBe(1)
  })

  test('an event is kept once, and lines tell of what was new', async () => {
    const lines = await appender.append([event('a', { user: 'ana' }), event('b'), event('a')])
    expect(lines?.text.split('\n').map((line) => parseChained(line)?.seq)).toEqual([1, 2, undefined])
    expect([lines?.first.seq, lines?.last.seq]).toEqual([1, 2])
    expect(await appender.append([event('a'), event('b')])).toBeUndefined()
    expect((await appender.append([event('b'), event('c')]))?.first).toMatchObject({ seq: 3, prev: lines?.last.hash })
    expect((await stored()).join('\n')).toBe(`${lines?.text}${(await stored())[2]}`)
    expect((await searchEvents(db, { user: 'ana' })).events.map(({ uid }) => uid)).toEqual(['a'])
  })

  test('texts come back letter by letter', async () => {
    const texts = ['NULL', '', '{"a\\",b}', "o'hara\\", 'a\nb\t\u0001', 'ä\u{1f512}', '$1,{}', 'x\0y']
    const events = texts.map((text, index) => event(`e${index}`, { user: text, tool: text, reason: text }))
    await appender.append(events)
    for (const [index, text] of texts.entries())
      expect((await searchEvents(db, { user: text, tool: text })).events.map(({ text: found }) => JSON.parse(found))).toEqual([
        events[index],
      ])
    expect(await verifyChain(await stored())).toMatchObject({ ok: true, count: 8 })
  })

  test('two connections write one chain, whichever comes first', async () => {
    for (let round = 0; round < 20; round += 1) {
      const both = [
        appendEvents(db, [event(`m${round}`), event(`same${round}`)], 'example'),
        appendEvents(db, [event(`n${round}`)], 'example'),
      ]
      await Promise.all([appender.append([event(`t${round}`), event(`same${round}`)]), ...both])
      await appender.append([event(`u${round}`)])
    }
    expect(await verifyChain(await stored())).toMatchObject({ ok: true, count: 100, startsAt: 1 })
  })

  test('it goes on where the chain was cut', async () => {
    await appender.append([event('a'), event('b')])
    const [, last] = (await searchEvents(db, {})).events
    await deleteEventsBefore(db, 100)
    expect((await appender.append([event('c')]))?.first).toMatchObject({ seq: 3, prev: last?.hash })
  })
})

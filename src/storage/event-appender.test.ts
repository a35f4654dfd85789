import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { parseChained, renderChained, verifyChain } from '../audit/chain.ts'
import type { ChainedLines } from '../audit/chain.ts'
import type { AuditEvent } from '../audit/event.ts'
import { renderEvent } from '../audit/event-text.ts'
import type { EventText } from '../audit/event-text.ts'
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
  const text = (uid: string, fields: Partial<AuditEvent> = {}): EventText => renderEvent(event(uid, fields))
  const linesOf = (lines: ChainedLines | undefined): string => Buffer.from(lines?.bytes ?? []).toString()
  const stored = async (): Promise<string[]> => (await searchEvents(db, { limit: 1000 })).events.map((one) => renderChained(one.text, one))

  test('an event is kept once, and lines tell of what was new', async () => {
    const lines = await appender.append([text('a', { user: 'ana' }), text('b'), text('a')])
    expect(
      linesOf(lines)
        .split('\n')
        .map((line) => parseChained(line)?.seq),
    ).toEqual([1, 2, undefined])
    expect([lines?.first.seq, lines?.last.seq]).toEqual([1, 2])
    expect(await appender.append([text('a'), text('b')])).toBeUndefined()
    expect((await appender.append([text('b'), text('c')]))?.first).toMatchObject({ seq: 3, prev: lines?.last.hash })
    expect((await stored()).join('\n')).toBe(`${linesOf(lines)}${(await stored())[2]}`)
    expect((await searchEvents(db, { user: 'ana' })).events.map(({ uid }) => uid)).toEqual(['a'])
  })

  test('texts come back letter by letter', async () => {
    const texts = ['NULL', '', '{"a\\",b}', "o'hara\\", 'a\nb\t\u0001', 'ä\u{1f512}', '$1,{}', 'x\0y']
    const events = texts.map((text, index) => event(`e${index}`, { user: text, tool: text, reason: text }))
    await appender.append(events.map((one) => renderEvent(one)))
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
      await Promise.all([appender.append([text(`t${round}`), text(`same${round}`)]), ...both])
      await appender.append([text(`u${round}`)])
    }
    expect(await verifyChain(await stored())).toMatchObject({ ok: true, count: 100, startsAt: 1 })
  })

  test('it goes on where the chain was cut', async () => {
    await appender.append([text('a'), text('b')])
    const [, last] = (await searchEvents(db, {})).events
    await deleteEventsBefore(db, 100)
    expect((await appender.append([text('c')]))?.first).toMatchObject({ seq: 3, prev: last?.hash })
  })
})

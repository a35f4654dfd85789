import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createRedactor } from '../lib/redact.ts'
import { JournalJoiner } from './journal-joiner.ts'
import type { Joined } from './journal-joiner.ts'
import { OPENED_LINE, renderEnd, renderStart } from './journal-record.ts'
import { JournalRequests } from './journal-request.ts'
import { ending, message, SECRET, session, text } from './request-records.fixture.ts'
import { RequestRecords } from './request-records.ts'

const options = {
  ids: { uuidv7: () => '0190f000-0000-7000-8000-000000000001' },
  now: () => 1_767_323_045_678,
  cluster: 'ex"ample',
  redactor: createRedactor({ knownSecrets: [SECRET] }),
}
const records = new RequestRecords({ sid: 's', server: 'tools', user: 'ana' }, options)
const started = records.start(
  { jsonrpc: '2.0', method: 'tools/call', params: { name: 'echo', arguments: { a: {} } } },
  { allow: true, by: 'dev' },
  3,
)
const START = renderStart(started.text).trimEnd()
const END = renderEnd(started.uid, records.end({ success: true, result_bytes: 7, latency_ms: 1.5 })).trimEnd()

function joinAll(lines: readonly string[], isPlain = true): Joined {
  const joiner = new JournalJoiner()
  const joined: Joined = { events: [], aside: [] }
  for (const line of lines) joiner.take(line, isPlain, joined)
  return joined
}

test('half a line is set aside, wherever it was cut', () => {
  for (let cut = 1; cut < START.length; cut += 1) {
    expect(joinAll([START.slice(0, cut), END]).aside.map(({ reason }) => reason)).toEqual([
      'not a journal record',
      'an end without its start',
    ])
  }
  for (let cut = 1; cut < END.length; cut += 1) {
    expect(joinAll([START, END.slice(0, cut)])).toEqual({
      events: [],
      aside: [{ line: END.slice(0, cut), reason: 'not a journal record' }],
    })
  }
})

test('what the length is right of, but not the text, is no event', () => {
  const broken = START.replace('"a":{}', '"a":\0\0')
  expect(joinAll([broken, END], false).aside.map(({ line }) => line)).toEqual([broken, END])
})

test('the records of requests are joined without being parsed', () => {
  const requests = new JournalRequests()
  const [start, end] = [requests.readStart(START), requests.readEnd(END)]
  expect(start).toMatchObject({ uid: started.uid, tool: 'echo', session: { user: 'ana', server: 'tools', sid: 's' } })
  expect(end).toEqual({ uid: started.uid, success: true, fields: '"success":true,"result_bytes":7,"latency_ms":1.5}'.slice(0, -1) })
})

test('an event is the same whether its records were parsed or not', () => {
  const run = (lines: readonly string[], isPlain: boolean) => {
    const { events, aside } = joinAll(lines, isPlain)
    return { events: events.map((event) => ({ ...event, text: JSON.parse(event.text) })), aside }
  }
  fc.assert(
    fc.property(session, message, fc.oneof(text, fc.constant(null)), ending, fc.boolean(), (fields, asked, by, end, isEnded) => {
      const of = new RequestRecords(fields, options)
      const begun = of.start(asked, { allow: true, by }, 7)
      const lines = [renderStart(begun.text).trimEnd(), isEnded ? renderEnd(begun.uid, of.end(end)).trimEnd() : OPENED_LINE.trimEnd()]
      const joined = run(lines, true)
      expect(joined).toEqual(run(lines, false))
      expect(joined.events).toHaveLength(1)
      expect(joined.events[0]?.outcome).toBe(!isEnded ? 'interrupted' : end.success ? 'success' : 'failure')
    }),
    { numRuns: 500 },
  )
})

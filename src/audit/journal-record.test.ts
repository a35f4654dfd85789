import { expect, test } from 'vitest'
import { parseRecord, renderEnd, renderPoint, renderStart } from './journal-record.ts'

const event = { event: 'user.login', code: 'T1000I', time: '2026-01-02T03:04:05.678Z', uid: 'u1', ei: 0, cluster_name: 'example' }

test.each([
  'not JSON',
  'null',
  '[]',
  '{"kind":"other"}',
  '{"kind":"start"}',
  '{"kind":"start","event":[]}',
  '{"kind":"start","event":{"uid":1,"event":"user.login"}}',
  '{"kind":"point","event":{"uid":"u1"}}',
  '{"kind":"end","uid":"u1"}',
  '{"kind":"end","uid":1,"fields":{}}',
  '{"kind":"end","uid":"u1","fields":[]}',
])('%s is no record', (line) => {
  expect(parseRecord(line)).toBeUndefined()
})

test('in a long line, whose event may have to be cut, every field is judged', () => {
  const long = 'x'.repeat(20_000)
  expect(parseRecord(JSON.stringify({ kind: 'point', event: { ...event, error: long } }))).toBeDefined()
  expect(parseRecord(JSON.stringify({ kind: 'point', event: { ...event, error: long, user: 1 } }))).toBeUndefined()
})

test('what was written is read', () => {
  expect(parseRecord(renderStart(JSON.stringify(event)).trimEnd())).toEqual({ kind: 'start', event })
  expect(parseRecord(renderPoint(event).trimEnd())).toEqual({ kind: 'point', event })
  expect(parseRecord(renderEnd('u1', '{"success":true}').trimEnd())).toEqual({ kind: 'end', uid: 'u1', fields: { success: true } })
})

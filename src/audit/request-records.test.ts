import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createRedactor } from '../lib/redact.ts'
import { buildEvent, buildFields, MAX_EVENT_BYTES } from './build-event.ts'
import { ending, message, SECRET, session, text } from './request-records.fixture.ts'
import { RequestRecords } from './request-records.ts'

const TYPE = 'mcp.session.request'
const redactor = createRedactor({ knownSecrets: [SECRET] })
const options = {
  ids: { uuidv7: () => '0190f000-0000-7000-8000-000000000001' },
  now: () => 1_767_323_045_678,
  cluster: 'ex"ample',
  redactor,
}

test('the text of a start says what buildEvent says', () => {
  fc.assert(
    fc.property(session, message, fc.oneof(text, fc.constant(null)), fc.nat(), (fields, asked, by, ei) => {
      const decision = { allow: true as const, by }
      const rendered = new RequestRecords(fields, options).start(asked, decision, ei)
      const { outcome: _, ...event } = buildEvent(TYPE, { ...fields, message: asked, decision, ei }, options)
      const { outcome: __, ...found } = JSON.parse(rendered.text)
      expect(found).toEqual(JSON.parse(JSON.stringify(event)))
      expect(rendered.uid).toBe(event.uid)
      expect(Buffer.byteLength(rendered.text)).toBeLessThanOrEqual(MAX_EVENT_BYTES)
      expect(JSON.stringify(found.message.params)).not.toContain(SECRET)
    }),
    { numRuns: 500 },
  )
})

test('the text of an end says what buildFields says', () => {
  const records = new RequestRecords({}, options)
  fc.assert(
    fc.property(ending, (end) => {
      const rendered = records.end(end)
      expect(JSON.parse(rendered)).toEqual(JSON.parse(JSON.stringify(buildFields(TYPE, end, options))))
      expect(rendered).not.toContain(SECRET)
    }),
    { numRuns: 500 },
  )
})

test('requests of a session share its fields and differ in the rest', () => {
  const records = new RequestRecords({ sid: 's', server: 'tools', app_uri: 'mcp+http://h/' }, options)
  const ask = (name: string, by: string, ei: number) =>
    JSON.parse(records.start({ jsonrpc: '2.0', method: 'tools/call', id: `int64:${ei}`, params: { name } }, { allow: true, by }, ei).text)
  expect([ask('echo', 'dev', 1), ask('add', 'ops', 2), ask('add', 'dev', 3)]).toMatchObject([
    { ei: 1, sid: 's', server: 'tools', app_name: 'tools', app_uri: 'mcp+http://h/', tool: 'echo', decision: { allow: true, by: 'dev' } },
    { ei: 2, sid: 's', server: 'tools', app_name: 'tools', app_uri: 'mcp+http://h/', tool: 'add', decision: { allow: true, by: 'ops' } },
    { ei: 3, sid: 's', server: 'tools', app_name: 'tools', app_uri: 'mcp+http://h/', tool: 'add', decision: { allow: true, by: 'dev' } },
  ])
})

test('a secret that becomes known during a session is found in the fields of the session', () => {
  const known = createRedactor()
  const records = new RequestRecords({ app_uri: 'mcp+http://h/swordfish' }, { ...options, redactor: known })
  const uri = (): unknown => JSON.parse(records.start({ method: 'initialize' }, { allow: true, by: null }, 0).text).app_uri
  expect(uri()).toBe('mcp+http://h/swordfish')
  known.add('swordfish')
  expect(uri()).toBe('mcp+http://h/<REDACTED>')
  known.remove('swordfish')
  expect(uri()).toBe('mcp+http://h/swordfish')
})

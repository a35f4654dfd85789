import { expect, test } from 'vitest'
import { cString, frame, int16, int32 } from './frames.ts'
import { FrontendAudit, type Step } from './frontend-audit.ts'

const prepare = (name: string, sql: string) => frame('P', cString(name), cString(sql), int16(0))
const bind = (portal: string, statement: string) => frame('B', cString(portal), cString(statement), int16(0), int16(0), int16(0))
const execute = (portal: string) => frame('E', cString(portal), int32(0))

test('a statement too large to be recorded goes nowhere', () => {
  const audit = new FrontendAudit()
  expect(() => audit.push(frame('Q', Buffer.alloc(2 * 1024 * 1024)))).toThrow('cannot be recorded')
  expect(() => new FrontendAudit().push(Buffer.from('GET / HTTP/1.1\r\n'))).toThrow('does not speak the PostgreSQL protocol')
})

test('a session cannot make the agent remember without end', () => {
  const audit = new FrontendAudit()
  const many = Buffer.concat(Array.from({ length: 10_001 }, (_, n) => prepare(`s${n}`, 'SELECT 1')))
  expect(() => audit.push(many)).toThrow('more than 10000 prepared statements')
})

test('what is executed is told, each time, wherever the bytes are cut', () => {
  const bytes = Buffer.concat([
    frame('Q', cString('SELECT 1; SELECT 2')),
    prepare('', 'SELECT $1'),
    bind('', ''),
    execute(''),
    prepare('s', 'DELETE FROM t'),
    frame('S'),
    bind('p', 's'),
    execute('p'),
    execute('p'),
    bind('q', 'unknown'),
    execute('q'),
    frame('F', int32(715), int16(0)),
    frame('d', Buffer.alloc(3 * 1024 * 1024)),
    frame('X'),
  ])
  const textsOf = (steps: Step[]): string[] => steps.flatMap((step) => (step.kind === 'statement' ? step.text : []))
  const expected = [
    'SELECT 1; SELECT 2',
    'SELECT $1',
    'DELETE FROM t',
    'DELETE FROM t',
    'the prepared statement or cursor "unknown"',
    'call of the function with the OID 715',
  ]
  expect(textsOf(new FrontendAudit().push(bytes))).toEqual(expected)
  const audit = new FrontendAudit()
  const head = bytes.subarray(0, 400)
  expect(
    [...Array.from(head, (_, at) => head.subarray(at, at + 1)), bytes.subarray(400)].flatMap((piece) => textsOf(audit.push(piece))),
  ).toEqual(expected)
})

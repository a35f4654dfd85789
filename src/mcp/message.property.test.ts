import fc from 'fast-check'
import { expect, test } from 'vitest'
import { AppError } from '../lib/errors.ts'
import { parsePlain } from '../lib/plain-message.ts'
import { type ClientMessage, readClientMessages } from './message.ts'

const text = fc.oneof(
  fc.string(),
  fc.string({ unit: 'binary' }),
  fc.array(fc.integer({ min: 0xd700, max: 0xe000 }), { maxLength: 3 }).map((units) => String.fromCharCode(...units)),
  fc.constantFrom('tools/call', '2.0', '{[', '": ', '\\', 'ſ', '0', '__proto__'),
)
const token = fc.oneof(fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true }), text)
const value = fc.oneof({ weight: 3, arbitrary: token }, { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 4 }) })
const key = fc.oneof(text, fc.constantFrom('name', 'uri', 'Name', 'requestid', 'request\u0131d', 'id', '7', 'k'.repeat(100)))
const meta = fc.oneof(value, fc.record({ progressToken: value, ProgressToken: token, other: value }, { requiredKeys: [] }))
const params = fc.oneof(
  { weight: 4, arbitrary: fc.record({ name: text, arguments: value, _meta: meta, cursor: value }, { requiredKeys: [] }) },
  { weight: 2, arbitrary: fc.tuple(fc.dictionary(key, value, { maxKeys: 3 }), meta).map(([more, _meta]) => ({ ...more, _meta })) },
  { weight: 1, arbitrary: value },
)
const known = fc.record({ jsonrpc: fc.constant('2.0'), id: token, method: text, params }, { requiredKeys: ['jsonrpc', 'method'] })
const odd = fc.record(
  { jsonrpc: fc.constantFrom('2.0', '1.0', 2), id: value, method: value, params: value, result: value, error: value },
  { requiredKeys: [] },
)
const extra = fc.oneof(
  { weight: 4, arbitrary: fc.constant({}) },
  { weight: 1, arbitrary: fc.dictionary(fc.oneof(key, fc.constantFrom('Id', 'METHOD', 'param\u017f', 'Result')), value, { maxKeys: 2 }) },
)
const message = fc.tuple(fc.oneof({ weight: 4, arbitrary: known }, { weight: 1, arbitrary: odd }), extra).map((parts) => {
  return JSON.stringify(Object.fromEntries(parts.flatMap((part) => Object.entries(part))))
})
const PIECES = '{ } [ ] " , : \\ - 0 .0 e5 1 A \\u0061 "a":1, "id":2, "Id":3, "\\u0061":1, "\\\\":1, [[[[ ]]]]'
const piece = fc.constantFrom(' ', '\n', ...PIECES.split(' '))
const mutation = fc.tuple(fc.nat(), piece, fc.constantFrom('put', 'replace', 'drop', 'double'))

const invalidByte = fc.record({ place: fc.nat(), value: fc.integer({ min: 0x80, max: 0xff }) })

function mutate(before: string, [place, added, kind]: [number, string, string]): string {
  const at = place % (before.length + 1)
  if (kind === 'put') return before.slice(0, at) + added + before.slice(at)
  if (kind === 'replace') return before.slice(0, at) + added + before.slice(at + 1)
  if (kind === 'drop') return before.slice(0, at) + before.slice(at + 1)
  return before.slice(0, at) + before.slice(Math.max(0, at - 8))
}

/** What is read, or why it is refused. A space before the message, which changes nothing else, keeps it from being read the quick way. */
function outcome(body: Buffer, spaces: number): unknown {
  try {
    const { batch, messages } = readClientMessages(Buffer.concat([Buffer.alloc(spaces, ' '), body]))
    return { batch, messages: messages.map((read) => describe(read, batch ? 0 : spaces)) }
  } catch (thrown) {
    if (!(thrown instanceof AppError)) throw thrown
    const offset = Number(thrown.details?.['offset'] ?? Number.NaN) - spaces
    return { code: thrown.code, rpc: thrown.details?.['rpc'], offset, message: thrown.message.replace(/at byte \d+/, 'at a byte') }
  }
}

function describe({ bytes, params: read, ...rest }: ClientMessage, spaces: number): unknown {
  return { ...rest, bytes: bytes.subarray(spaces).toString('latin1'), params: JSON.stringify(read) }
}

test('what is read the quick way is exactly what the scan reads', () => {
  const taken = { plain: 0, others: 0 }
  fc.assert(
    fc.property(message, fc.array(mutation, { maxLength: 2 }), fc.option(invalidByte, { freq: 2 }), (original, mutations, byte) => {
      const body = Buffer.from(mutations.reduce(mutate, original))
      if (byte !== null) body[byte.place % body.length] = byte.value
      taken[parsePlain(body) ? 'plain' : 'others']++
      expect(outcome(body, 0)).toEqual(outcome(body, 1))
    }),
    { numRuns: 5000 },
  )
  expect(taken.plain).toBeGreaterThan(500)
  expect(taken.others).toBeGreaterThan(500)
})

test.each([
  [62, true],
  [63, false],
])('a value nested %i levels within params: accepted %j', (levels, isAccepted) => {
  const nested = '['.repeat(levels) + ']'.repeat(levels)
  const body = Buffer.from(`{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":${nested}}}`)
  expect(parsePlain(body) !== undefined).toBe(isAccepted)
  expect(outcome(body, 0)).toEqual(outcome(body, 1))
  expect(outcome(body, 0)).toMatchObject(isAccepted ? { batch: false } : { rpc: -32600 })
})

test.each([
  ['brackets within a text', `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"${'[{'.repeat(100)}"}}`],
  ['more than 8 KiB', `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"${'x'.repeat(9000)}"}}`],
  ['spaces', '{"jsonrpc": "2.0", "id": 1, "method": "ping"}'],
  ['an escape', '{"jsonrpc":"2.0","id":1,"method":"tools\\/call"}'],
])('%s: read by the scan, with the same result', (_, original) => {
  const body = Buffer.from(original)
  expect(parsePlain(body)).toBeUndefined()
  expect(outcome(body, 0)).toMatchObject({ batch: false })
  expect(outcome(body, 0)).toEqual(outcome(body, 1))
})

test.each([[[0xff]], [[0xc0, 0xaf]], [[0xed, 0xa0, 0x80]], [[0xe2, 0x82]]])('bytes that are no UTF-8 are refused: %j', (bytes) => {
  const [before = '', after = ''] = '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"x"}}'.split('x')
  const body = Buffer.concat([Buffer.from(before), Buffer.from(bytes), Buffer.from(after)])
  expect(outcome(body, 0)).toMatchObject({ rpc: -32700 })
  expect(outcome(body, 0)).toEqual(outcome(body, 1))
})

import fc from 'fast-check'
import type { EventFields } from './event.ts'

export const SECRET = 'sword-of-damocles'

/** Texts of every kind: long, secret, not ASCII, and names that mean something. */
export const text = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom(
    SECRET,
    `x ${SECRET} y`,
    'Bearer abcdefghijkl',
    'password=hunter2',
    'a'.repeat(1100),
    'ä'.repeat(5000),
    'tok_en',
    '__proto__',
  ),
)
export const json = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 8 },
    text,
    fc.double({ noNaN: true }),
    fc.constantFrom(true, false, null),
    fc.array(tie('value'), { maxLength: 20 }),
    fc.dictionary(text, tie('value'), { maxKeys: 8 }),
  ),
})).value
export const session: fc.Arbitrary<EventFields> = fc.record(
  {
    sid: text,
    server: text,
    app_uri: text,
    remote_addr: text,
    user: text,
    user_kind: fc.constantFrom(1, 2),
    user_roles: fc.array(text),
    credential: fc.record({ kind: text, id: text }),
  },
  { requiredKeys: [] },
)

export const message = fc.record({
  jsonrpc: fc.constant('2.0'),
  method: fc.constantFrom('tools/call', 'initialize'),
  id: text,
  params: fc.oneof(json, fc.record({ name: text, arguments: json })),
})

export const ending = fc.record(
  {
    success: fc.boolean(),
    error: text,
    result_bytes: fc.nat(),
    latency_ms: fc.double({ noNaN: true, noDefaultInfinity: true }),
    answer: json,
  },
  { requiredKeys: ['success'] },
)

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { cString, FrameReader, frame, int32 } from './frames.ts'
import { Rows } from './rows.ts'
import { createScram } from './scram.ts'
import { renderValue } from './values.ts'

// A database server is as hostile as anybody.

test.each([
  ['HTTP', Buffer.from('HTTP/1.1 400 Bad Request')],
  ['a length below its own', Buffer.concat([Buffer.from('D'), int32(3)])],
  ['a length beyond all', Buffer.concat([Buffer.from('D'), Buffer.from([255, 255, 255, 255])])],
])('%s is no message', (_name, bytes) => {
  expect(() => new FrameReader(100).push(bytes)).toThrow('does not speak the PostgreSQL protocol')
})

test('a message beyond the limit is never held, and the next one is read', () => {
  const reader = new FrameReader(10)
  const big = frame('D', Buffer.alloc(1000))
  expect(reader.push(big.subarray(0, 500))).toEqual([])
  expect(reader.push(Buffer.concat([big.subarray(500), frame('Z', Buffer.from('I'))]))).toEqual([
    { type: 'D', body: undefined },
    { type: 'Z', body: Buffer.from('I') },
  ])
})

test('messages are the same however they are cut', () => {
  const message = fc.tuple(fc.constantFrom('D', 'T', 'Z'), fc.uint8Array({ maxLength: 30 }))
  fc.assert(
    fc.property(fc.array(message), fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1 }), (messages, cuts) => {
      const bytes = Buffer.concat(messages.map(([type, body]) => frame(type, Buffer.from(body))))
      const reader = new FrameReader(100)
      const frames = []
      for (let at = 0, turn = 0; at < bytes.length; turn++) {
        const size = cuts[turn % cuts.length] ?? 1
        frames.push(...reader.push(bytes.subarray(at, at + size)))
        at += size
      }
      expect(frames.map(({ type, body }) => [type, body?.toString('hex')])).toEqual(
        messages.map(([type, body]) => [type, Buffer.from(body).toString('hex')]),
      )
    }),
  )
})

describe('rows', () => {
  const limits = { maxRows: 10, maxBytes: 1000 }
  const describeOne = Buffer.concat([Buffer.from([0, 1]), cString('a'), Buffer.alloc(6), int32(25), Buffer.alloc(8)])

  test.each([
    ['fewer columns', Buffer.from([0, 0])],
    ['a value beyond its row', Buffer.concat([Buffer.from([0, 1]), int32(100), Buffer.from('x')])],
    ['no value', Buffer.from([0, 1])],
    ['nothing', Buffer.alloc(0)],
  ])('with %s are no rows', (_name, body) => {
    const rows = new Rows(limits)
    rows.describe(describeOne)
    expect(() => rows.add(body)).toThrow('does not speak the PostgreSQL protocol')
  })

  test('of names that are members of objects keep them', () => {
    const rows = new Rows(limits)
    rows.describe(Buffer.concat([Buffer.from([0, 1]), cString('__proto__'), Buffer.alloc(6), int32(25), Buffer.alloc(8)]))
    rows.add(Buffer.concat([Buffer.from([0, 1]), int32(1), Buffer.from('x')]))
    expect(rows.toJson()).toBe('[{"__proto__":"x"}]')
  })
})

test.each([
  ['JSON that is none', 114, '{"a":', '"{\\"a\\":"'],
  ['a number that is none', 23, '1,"x":2', '"1,\\"x\\":2"'],
  ['a float that is none', 701, '1}', '"1}"'],
  ['a negative zero', 701, '-0', '"-0"'],
  ['infinity', 700, 'Infinity', '"Infinity"'],
  ['an array that is none', 1007, '{1,2', '"{1,2"'],
  ['an array without commas', 1007, '{1 2}{', '"{1 2}{"'],
  ['deep braces', 1007, '{'.repeat(100_000), JSON.stringify('{'.repeat(100_000))],
])('%s stays a text', (_name, type, text, expected) => {
  expect(renderValue(type, Buffer.from(text))).toBe(expected)
})

test('bytes that are no text are written in hexadecimal', () => {
  expect(renderValue(25, Buffer.from([0xff, 0x00]))).toBe('"\\\\xff00"')
})

describe('SCRAM', () => {
  // RFC 7677, section 3, but for the name, which PostgreSQL has in its first message.
  const serverFirst = 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096'

  test.each([
    ['another nonce', 'r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096'],
    ['the same nonce', 'r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096'],
    ['few iterations', serverFirst.replace('4096', '1')],
    ['many iterations', serverFirst.replace('4096', '2000000000')],
    ['nothing', ''],
  ])('refuses %s', async (_name, message) => {
    await expect(createScram('pencil', 'rOprNGfwEbeRWgbNEkqO').answer(message)).rejects.toMatchObject({ code: 'unauthenticated' })
  })

  test('refuses a server that does not know the password', async () => {
    const scram = createScram('pencil', 'rOprNGfwEbeRWgbNEkqO')
    expect(() => scram.verify('v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=')).toThrow('does not know the password')
    expect(await scram.answer(serverFirst)).toContain('c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=')
    expect(() => scram.verify('v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=')).toThrow('does not know the password')
    expect(() => scram.verify('e=other-error')).toThrow('does not know the password')
  })
})

import { createHash, randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { AppError } from '../lib/errors.ts'
import { createSealer } from './sealed.ts'

const KEY = createHash('sha256').update('a key of these tests').digest()
const sealer = createSealer(KEY, randomBytes)

function faultOf(open: () => unknown): unknown {
  try {
    return { opened: open() }
  } catch (thrown) {
    return thrown instanceof AppError ? { code: thrown.code, message: thrown.message, rpc: thrown.details?.['rpc'] } : thrown
  }
}

const REFUSED = {
  code: 'invalid_argument',
  message: 'the requestState is not valid: send the request again without it and without inputResponses',
  rpc: -32602,
}

test('a changed byte anywhere is refused', () => {
  const text = sealer.seal({ call: 'one' }, 'alice', 100)
  const bytes = Buffer.from(text, 'base64url')
  for (let at = 0; at < bytes.length; at++) {
    const changed = Buffer.from(bytes)
    changed[at] = (changed[at] ?? 0) ^ 1
    expect(faultOf(() => sealer.open(changed.toString('base64url'), 'alice', 0))).toEqual(REFUSED)
  }
})

test.each([
  ['nothing', ''],
  ['no base64url', 'a state, no less'],
  ['padding', `${sealer.seal(1, 'alice', 100)}=`],
  ['other bits behind the last byte', `${sealer.seal(1, 'alice', 100).slice(0, -1)}-`],
  ['too short', 'AQ'],
  ['very long', 'A'.repeat(1_000_000)],
  ['cut off', sealer.seal(1, 'alice', 100).slice(0, -4)],
])('%s is refused', (_name, text) => {
  expect(faultOf(() => sealer.open(text, 'alice', 0))).toEqual(REFUSED)
})

test('another binding, another key and a later moment are refused', () => {
  const text = sealer.seal({ call: 'one' }, 'alice', 100)
  expect(faultOf(() => sealer.open(text, 'bob', 0))).toEqual(REFUSED)
  const other = createSealer(createHash('sha256').update('another').digest(), randomBytes)
  expect(faultOf(() => other.open(text, 'alice', 0))).toEqual(REFUSED)
  expect(faultOf(() => sealer.open(text, 'alice', 100))).toEqual(REFUSED)
})

test('what was sealed opens, and shows nothing before', () => {
  const text = sealer.seal({ call: 'one', round: 3 }, 'alice', 100)
  expect(sealer.open(text, 'alice', 99)).toEqual({ call: 'one', round: 3 })
  expect(text).toMatch(/^[A-Za-z0-9_-]+$/)
  expect(Buffer.from(text, 'base64url').includes('one')).toBe(false)
})

test('a value too large to be given out is an error of ours', () => {
  expect(faultOf(() => sealer.seal('x'.repeat(5000), 'alice', 100))).toMatchObject({ code: 'internal' })
})

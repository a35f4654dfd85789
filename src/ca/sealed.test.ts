import { expect, test } from 'vitest'
import { createSealer } from './sealed.ts'

const sealer = createSealer(Buffer.alloc(32, 7))
const PLAIN = Buffer.from('a private key')
const REFUSED = 'cannot open the sealed secret "ca/user"'

test('refuses a key of the wrong size', () => {
  expect(() => createSealer(Buffer.alloc(31))).toThrow('must have 32 bytes')
  expect(() => createSealer(Buffer.alloc(33))).toThrow('must have 32 bytes')
})

test('opens only with the same key and for the same context', () => {
  const sealed = sealer.seal(PLAIN, 'ca/user')
  expect(() => createSealer(Buffer.alloc(32, 8)).open(sealed, 'ca/user')).toThrow(REFUSED)
  expect(() => sealer.open(sealer.seal(PLAIN, 'ca/host'), 'ca/user')).toThrow(REFUSED)
  expect(sealer.open(sealed, 'ca/user').toString()).toBe('a private key')
})

test('refuses every single changed byte', () => {
  const sealed = sealer.seal(PLAIN, 'ca/user')
  const bytes = Buffer.from(sealed.slice('sealed-v1.'.length), 'base64url')
  for (let at = 0; at < bytes.length; at++) {
    const changed = Buffer.from(bytes)
    changed[at] = (changed[at] ?? 0) ^ 1
    expect(() => sealer.open(`sealed-v1.${changed.toString('base64url')}`, 'ca/user')).toThrow(REFUSED)
  }
})

test.each(['', 'sealed-v1', 'sealed-v1.', 'sealed-v1.AAAA', `sealed-v2.${'A'.repeat(60)}`, `sealed-v1.${'A'.repeat(60)}`])(
  'refuses the text %j',
  (text) => {
    expect(() => sealer.open(text, 'ca/user')).toThrow(REFUSED)
  },
)

test('refuses other spellings of the same bytes', () => {
  const sealed = sealer.seal(PLAIN, 'ca/user')
  expect(() => sealer.open(`${sealed}=`, 'ca/user')).toThrow(REFUSED)
  expect(() => sealer.open(`${sealed}\n`, 'ca/user')).toThrow(REFUSED)
  expect(() => sealer.open(`${sealed}.x`, 'ca/user')).toThrow(REFUSED)
})

test('opens what another implementation sealed', () => {
  expect(sealer.open('sealed-v1.AAECAwQFBgcICQoLeaGZAnR_uD0Sko75m5kCjLBDJ5fX2IoWD_FuyvY', 'ca/user').toString()).toBe('a private key')
})

test('seals nothing, and the same thing never twice alike', () => {
  expect(sealer.open(sealer.seal(Buffer.alloc(0), ''), '').length).toBe(0)
  expect(sealer.seal(PLAIN, 'ca/user')).not.toBe(sealer.seal(PLAIN, 'ca/user'))
})

test('a sealer keeps its own copy of the key', () => {
  const key = Buffer.alloc(32, 9)
  const own = createSealer(key)
  const sealed = own.seal(PLAIN, 'x')
  key.fill(0)
  expect(own.open(sealed, 'x').toString()).toBe('a private key')
})

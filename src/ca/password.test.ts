import { expect, test } from 'vitest'
import { hashPassword, verifyPassword } from './password.ts'

// From the test vectors of the argon2 reference implementation (phc-winner-argon2, test.c).
const REFERENCE = '$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4'

test('refuses passwords that are empty, too long or broken text', async () => {
  await expect(hashPassword('')).rejects.toThrow('1 to 256 characters')
  await expect(hashPassword('x'.repeat(257))).rejects.toThrow('1 to 256 characters')
  await expect(hashPassword('a\ud800')).rejects.toThrow('1 to 256 characters')
  expect(await verifyPassword('', REFERENCE)).toBe(false)
  expect(await verifyPassword('x'.repeat(1_000_000), REFERENCE)).toBe(false)
})

test.each([
  '',
  'password',
  REFERENCE.replace('argon2id', 'argon2i'),
  REFERENCE.replace('v=19', 'v=16'),
  REFERENCE.replace('m=256', 'm=131073'),
  REFERENCE.replace('m=256', 'm=7'),
  REFERENCE.replace('m=256', 'm=4294967295'),
  REFERENCE.replace('t=2', 't=0'),
  REFERENCE.replace('t=2', 't=11'),
  REFERENCE.replace('p=1', 'p=0'),
  REFERENCE.replace('p=1', 'p=5'),
  REFERENCE.replace('c29tZXNhbHQ', 'c29t'),
  REFERENCE.replace('nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4', 'nf65'),
  `${REFERENCE}$`,
  `${REFERENCE}\n`,
])('a stored hash such as %j is an error, not a wrong password', async (phc) => {
  await expect(verifyPassword('password', phc)).rejects.toMatchObject({ code: 'internal' })
})

test('agrees with the reference implementation', async () => {
  expect(await verifyPassword('Password', REFERENCE)).toBe(false)
  expect(await verifyPassword('password', REFERENCE)).toBe(true)
})

test('hashes to a PHC string that verifies', async () => {
  const phc = await hashPassword('correct horse', Buffer.alloc(16))
  expect(phc).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$AAAAAAAAAAAAAAAAAAAAAA\$[A-Za-z0-9+/]{43}$/)
  expect(await verifyPassword('correct hors', phc)).toBe(false)
  expect(await verifyPassword('correct horse', phc)).toBe(true)
})

test('salts differ', async () => {
  expect(await hashPassword('a')).not.toBe(await hashPassword('a'))
})

test('a letter is the same however it was composed', async () => {
  expect(await verifyPassword('caf\u0065\u0301', await hashPassword('caf\u00e9'))).toBe(true)
})

import { createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { expect, test } from 'vitest'
import { createAuthority } from './authority.ts'
import {
  generateKeyPair,
  parsePrivateKey,
  parsePublicKey,
  renderPrivateKey,
  renderPublicKey,
  signPossession,
  verifyPossession,
} from './keys.ts'

const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const ed = generateKeyPairSync('ed25519')
const pemOf = (key: KeyObject) => key.export({ type: key.type === 'public' ? 'spki' : 'pkcs8', format: 'pem' }).toString()
const pemAround = (der: Buffer) => `-----BEGIN PUBLIC KEY-----\n${der.toString('base64')}\n-----END PUBLIC KEY-----\n`
const REFUSED = 'the public key cannot be read'

test('refuses public keys of other kinds', () => {
  expect(() => parsePublicKey(pemOf(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey))).toThrow(REFUSED)
  expect(() => parsePublicKey(pemOf(generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey))).toThrow(REFUSED)
  expect(() => parsePublicKey(pemOf(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey))).toThrow(REFUSED)
  expect(() => parsePublicKey(pemOf(generateKeyPairSync('x25519').publicKey))).toThrow(REFUSED)
})

test('refuses a private key or a certificate where a public key belongs', () => {
  expect(() => parsePublicKey(pemOf(ec.privateKey))).toThrow(REFUSED)
  expect(() => parsePublicKey(createAuthority('user', 'example', Date.UTC(2027, 0)).certificatePem)).toThrow(REFUSED)
})

test('refuses a public key in any spelling but the one', () => {
  const der = ec.publicKey.export({ type: 'spki', format: 'der' })
  const compressed = Buffer.concat([
    Buffer.from('3039301306072a8648ce3d020106082a8648ce3d030107032200', 'hex'),
    Buffer.of(2 + ((der.at(-1) ?? 0) & 1)),
    der.subarray(27, 59),
  ])
  expect(createPublicKey({ key: compressed, format: 'der', type: 'spki' }).asymmetricKeyDetails?.namedCurve).toBe('prime256v1')
  expect(() => parsePublicKey(pemAround(compressed))).toThrow(REFUSED)
  const hybrid = Buffer.from(der)
  hybrid[26] = 6 + ((der.at(-1) ?? 0) & 1)
  expect(createPublicKey({ key: hybrid, format: 'der', type: 'spki' }).asymmetricKeyDetails?.namedCurve).toBe('prime256v1')
  expect(() => parsePublicKey(pemAround(hybrid))).toThrow(REFUSED)
  expect(() => parsePublicKey(pemAround(Buffer.concat([der, Buffer.of(0)])))).toThrow(REFUSED)
  expect(() => parsePublicKey(pemOf(ec.publicKey) + pemOf(ec.publicKey))).toThrow(REFUSED)
  expect(() => parsePublicKey(`x\n${pemOf(ec.publicKey)}`)).toThrow(REFUSED)
  expect(() => parsePublicKey(pemOf(ec.publicKey) + ' '.repeat(2000))).toThrow(REFUSED)
  expect(() => parsePublicKey('')).toThrow(REFUSED)
})

test('refuses a point that is not on the curve', () => {
  const der = Buffer.from(ec.publicKey.export({ type: 'spki', format: 'der' }))
  der[90] = (der[90] ?? 0) ^ 1
  expect(() => parsePublicKey(pemAround(der))).toThrow(REFUSED)
})

test('refuses unfit private keys without quoting them', () => {
  const encrypted = ec.privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' }).toString()
  expect(() => parsePrivateKey(encrypted)).toThrow('it must be an unencrypted PEM')
  expect(() => parsePrivateKey('-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----')).toThrow(
    /^the private key cannot be read: it must be an unencrypted PEM$/,
  )
  expect(() => parsePrivateKey(pemOf(generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey))).toThrow(
    'must be EC P-256 or Ed25519',
  )
  expect(() => parsePrivateKey('x'.repeat(5000))).toThrow('too long')
  expect(() => parsePrivateKey(pemOf(ec.publicKey))).toThrow('cannot be read')
})

test('never renders a private key as a public one', () => {
  expect(() => renderPublicKey(ec.privateKey)).toThrow('not a public key')
})

test('keys survive PEM', async () => {
  const { privateKey, publicKey } = await generateKeyPair()
  expect(publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1')
  expect(parsePublicKey(renderPublicKey(publicKey)).equals(publicKey)).toBe(true)
  expect(parsePublicKey(renderPublicKey(publicKey).replaceAll('\n', '\r\n')).equals(publicKey)).toBe(true)
  expect(parsePrivateKey(renderPrivateKey(privateKey)).equals(privateKey)).toBe(true)
  expect(parsePublicKey(renderPublicKey(ed.publicKey)).equals(ed.publicKey)).toBe(true)
  expect(parsePrivateKey(renderPrivateKey(ed.privateKey)).equals(ed.privateKey)).toBe(true)
  expect(parsePrivateKey(ec.privateKey.export({ type: 'sec1', format: 'pem' }).toString()).equals(ec.privateKey)).toBe(true)
})

test.each([
  ['P-256', ec],
  ['Ed25519', ed],
])('possession of a %s key is proved for one challenge and key only', (_, { privateKey, publicKey }) => {
  const signature = signPossession(privateKey, 'challenge-1')
  expect(verifyPossession(publicKey, 'challenge-2', signature)).toBe(false)
  expect(verifyPossession(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey, 'challenge-1', signature)).toBe(false)
  expect(verifyPossession(publicKey, 'challenge-1', '')).toBe(false)
  expect(verifyPossession(publicKey, 'challenge-1', `${signature}=`)).toBe(false)
  expect(verifyPossession(publicKey, 'challenge-1', 'A'.repeat(5000))).toBe(false)
  expect(verifyPossession(publicKey, 'challenge-1', 'AAAA')).toBe(false)
  expect(verifyPossession(publicKey, 'challenge-1', signature)).toBe(true)
})

test('a bare signature over the challenge proves nothing', () => {
  const bare = sign('sha256', Buffer.from('challenge-1'), ec.privateKey).toString('base64url')
  expect(verifyPossession(ec.publicKey, 'challenge-1', bare)).toBe(false)
})

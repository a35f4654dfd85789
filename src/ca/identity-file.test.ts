import { generateKeyPairSync } from 'node:crypto'
import { expect, test } from 'vitest'
import { createAuthority } from './authority.ts'
import { issueIdentityCertificate } from './identity-certificate.ts'
import { parseIdentityFile, renderIdentityFile } from './identity-file.ts'
import { renderPrivateKey } from './keys.ts'

const NOW = Date.UTC(2027, 0, 15, 12)
const userCa = createAuthority('user', 'example', NOW)
const hostCa = createAuthority('host', 'example', NOW)
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const { certificatePem } = issueIdentityCertificate(
  userCa,
  'example',
  publicKey,
  { kind: 'bot', name: 'bot-ci', roles: [], mfaVerified: false },
  { now: NOW, ttlMs: 3_600_000 },
)
const FILE = { privateKeyPem: renderPrivateKey(privateKey), certificatePem, authorityPems: [hostCa.certificatePem, userCa.certificatePem] }
const SSH_CERTIFICATE = 'ssh-rsa-cert-v01@openssh.com AAAAHHNzaC1yc2E= bot-ci\n'
const SSH_AUTHORITY = '@cert-authority *.example ssh-rsa AAAAB3NzaC1yc2E=\n'

test('refuses a file without a key or a certificate', () => {
  expect(() => parseIdentityFile('')).toThrow('it holds no private key')
  expect(() => parseIdentityFile(certificatePem)).toThrow('it holds no private key')
  expect(() => parseIdentityFile(FILE.privateKeyPem + SSH_CERTIFICATE)).toThrow('it holds no certificate')
})

test('refuses a key that belongs to another certificate', () => {
  expect(() => parseIdentityFile(renderIdentityFile({ ...FILE, certificatePem: userCa.certificatePem }))).toThrow(
    'its private key does not belong to its certificate',
  )
})

test('names the broken block by kind and line', () => {
  const text = renderIdentityFile(FILE)
  expect(() => parseIdentityFile(text.slice(0, -20))).toThrow(/the block "-----BEGIN CERTIFICATE-----" at line \d+ is damaged/)
  expect(() => parseIdentityFile(FILE.privateKeyPem.replace('-----END PRIVATE KEY-----\n', '') + certificatePem)).toThrow(
    'the block "-----BEGIN PRIVATE KEY-----" at line 1 is damaged',
  )
  expect(() => parseIdentityFile(FILE.privateKeyPem + certificatePem.replace('END CERTIFICATE', 'END PRIVATE KEY'))).toThrow(
    'the block "-----BEGIN CERTIFICATE-----" at line 6 is damaged',
  )
  expect(() => parseIdentityFile(`${text}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`)).toThrow('is damaged')
  expect(() => parseIdentityFile(text.replace(/\n(.)/, '\n*$1'))).toThrow('the block "-----BEGIN PRIVATE KEY-----" at line 1 is damaged')
})

test('an error never shows the key', () => {
  const secret = FILE.privateKeyPem.split('\n')[1] ?? ''
  const text = `-----BEGIN PRIVATE KEY-----\n${secret}\n-----END PRIVATE KEY-----\n${certificatePem}`
  expect(secret.length).toBe(64)
  expect(() => parseIdentityFile(text)).toThrow(new RegExp(`^(?!.*${secret.slice(0, 12).replaceAll('+', '\\+')}).*is damaged`))
})

test('refuses a file beyond all reason', () => {
  expect(() => parseIdentityFile('\n'.repeat(1024 * 1024 + 1))).toThrow('it is too long')
})

test('reads what it wrote: key, certificate, authorities, in this order', () => {
  const text = renderIdentityFile(FILE)
  expect(text.match(/-----BEGIN [A-Z ]+-----/g)).toEqual([
    '-----BEGIN PRIVATE KEY-----',
    '-----BEGIN CERTIFICATE-----',
    '-----BEGIN CERTIFICATE-----',
    '-----BEGIN CERTIFICATE-----',
  ])
  expect(parseIdentityFile(text)).toEqual(FILE)
})

test('skips SSH lines, other blocks, comments, and takes any order and line ending', () => {
  const noise = '# a comment\n-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n'
  const text =
    noise +
    SSH_CERTIFICATE +
    certificatePem +
    SSH_AUTHORITY +
    FILE.privateKeyPem +
    hostCa.certificatePem +
    SSH_AUTHORITY +
    userCa.certificatePem
  expect(parseIdentityFile(text)).toEqual(FILE)
  expect(parseIdentityFile(text.replaceAll('\n', '\r\n'))).toEqual(FILE)
  expect(parseIdentityFile(FILE.privateKeyPem + certificatePem)).toEqual({ ...FILE, authorityPems: [] })
})

test('the first private key counts', () => {
  const other = renderPrivateKey(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)
  expect(parseIdentityFile(renderIdentityFile(FILE) + other)).toEqual(FILE)
  expect(() => parseIdentityFile(other + renderIdentityFile(FILE))).toThrow('does not belong')
})

import 'reflect-metadata'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate as Oracle,
} from '@peculiar/x509'
import { execFileSync, spawnSync } from 'node:child_process'
import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { createAuthority } from './authority.ts'
import { issueCertificate } from './certificate.ts'
import type { CertificateRequest } from './certificate.ts'

const NOW = Date.UTC(2027, 0, 15, 12)
const HOUR = 3_600_000
const SERIAL = Buffer.from('000f0e0d0c0b0a09080706050403020f', 'hex')
const authority = createAuthority('user', 'example', NOW)
const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const folder = mkdtempSync(join(tmpdir(), 'sallyport-ca-'))
afterAll(() => rmSync(folder, { recursive: true }))

const hasOpenssl = spawnSync('openssl', ['version']).status === 0
if (!hasOpenssl) console.warn('skipping the checks with openssl: the program "openssl" is not installed')

function issue(changes: Partial<CertificateRequest> = {}): string {
  return issueCertificate({
    subject: { commonName: 'ana', organization: ['example'] },
    publicKey,
    issuer: authority,
    notBefore: NOW - 60_000,
    notAfter: NOW + HOUR,
    usage: 'client',
    serial: SERIAL,
    ...changes,
  })
}

function opensslVerify(certificatePem: string, caPem: string, ...options: string[]): string {
  const [certificateFile, caFile] = [join(folder, 'certificate.pem'), join(folder, 'ca.pem')]
  writeFileSync(certificateFile, certificatePem)
  writeFileSync(caFile, caPem)
  const trust = ['-no-CApath', '-no-CAstore', '-CAfile', caFile, '-attime', String(NOW / 1000)]
  const { stdout, stderr } = spawnSync('openssl', ['verify', '-x509_strict', ...trust, ...options, certificateFile], { encoding: 'utf8' })
  return (stdout + stderr).trim()
}

test('refuses requests that make no sound certificate', () => {
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const ed25519: KeyObject = generateKeyPairSync('ed25519').privateKey
  expect(() => issue({ notAfter: NOW - 60_000 })).toThrow('must end after it begins')
  expect(() => issue({ notAfter: Number.NaN })).toThrow('must end after it begins')
  expect(() => issue({ serial: Buffer.alloc(15, 1) })).toThrow('16 to 19 random bytes')
  expect(() => issue({ serial: Buffer.alloc(20, 1) })).toThrow('16 to 19 random bytes')
  expect(() => issue({ serial: Buffer.alloc(16) })).toThrow('16 to 19 random bytes')
  expect(() => issue({ subject: { commonName: '' } })).toThrow('empty or broken text')
  expect(() => issue({ subject: { commonName: 'a\ud800' } })).toThrow('empty or broken text')
  expect(() => issue({ issuer: { ...authority, privateKey: other } })).toThrow('does not belong to its certificate')
  expect(() => issue({ issuer: { self: ed25519 } })).toThrow('EC P-256 keys only')
  expect(() => issue({ publicKey: privateKey })).toThrow('issued for a public key')
})

test.each(['', 'a..b', '-a', 'a b', 'bücher.example', 'a,b', '*', 'a.*.b', '*.*.a', 'x'.repeat(64), 'a'.repeat(300)])(
  'refuses the DNS name %j',
  (name) => {
    expect(() => issue({ names: { dns: [name] } })).toThrow('is not a DNS name')
  },
)

test.each(['', 'no-scheme', 'a: b', 'a:ü', 'a:b\n', `a:${'b'.repeat(2100)}`])('refuses the URI %j', (uri) => {
  expect(() => issue({ names: { uri: [uri] } })).toThrow('is not an absolute URI')
})

test.each(['', '1.2.3', '1.2.3.4/8', '::1%lo', 'localhost'])('refuses the IP address %j', (ip) => {
  expect(() => issue({ names: { ip: [ip] } })).toThrow('is not an IP address')
})

test('another parser reads what was meant', () => {
  const oracle = new Oracle(issue({ names: { dns: ['a.example'], uri: ['spiffe://example/user/ana'], ip: ['127.0.0.1'] } }))
  expect(oracle.subject).toBe('O=example, CN=ana')
  expect(oracle.issuer).toBe('O=example, CN=Sallyport user CA')
  expect(oracle.serialNumber).toBe('0f0e0d0c0b0a09080706050403020f')
  expect(oracle.notAfter.toISOString()).toBe('2027-01-15T13:00:00.000Z')
  expect(oracle.extensions.map(({ type, critical }) => [type, critical])).toEqual([
    ['2.5.29.19', true],
    ['2.5.29.15', true],
    ['2.5.29.14', false],
    ['2.5.29.37', false],
    ['2.5.29.35', false],
    ['2.5.29.17', false],
  ])
  const ca = new Oracle(authority.certificatePem)
  expect(ca.getExtension(BasicConstraintsExtension)).toMatchObject({ ca: true, pathLength: 0 })
  expect(oracle.getExtension(BasicConstraintsExtension)).toMatchObject({ ca: false })
  expect(oracle.getExtension(AuthorityKeyIdentifierExtension)?.keyId).toBe(ca.getExtension(SubjectKeyIdentifierExtension)?.keyId)
})

test('another library verifies the signature, and not with a foreign key', async () => {
  const oracle = new Oracle(issue())
  expect(await oracle.verify({ publicKey: new Oracle(authority.certificatePem), signatureOnly: true })).toBe(true)
  expect(await oracle.verify({ publicKey: new Oracle(createAuthority('user', 'example', NOW).certificatePem), signatureOnly: true })).toBe(
    false,
  )
})

test('Node reads names of every kind', () => {
  const names = { dns: ['a.example', '*.b.example'], ip: ['10.0.0.1', '::1', '2001:DB8::a:0:1', '::ffff:1.2.3.4'] }
  const certificate = new X509Certificate(issue({ usage: 'server', names }))
  expect(certificate.subjectAltName).toBe(
    'DNS:a.example, DNS:*.b.example, IP Address:10.0.0.1, IP Address:0:0:0:0:0:0:0:1, ' +
      'IP Address:2001:DB8:0:0:0:A:0:1, IP Address:0:0:0:0:0:FFFF:102:304',
  )
  expect(certificate.checkHost('x.b.example')).toBe('*.b.example')
  expect(certificate.checkIP('2001:db8::a:0:1')).toBe('2001:db8::a:0:1')
  expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1'])
  expect(certificate.ca).toBe(false)
})

test('long subjects are cut to what RFC 5280 allows, by characters', () => {
  expect(new X509Certificate(issue({ subject: { commonName: '😀'.repeat(70) } })).subject).toBe(`CN=${'😀'.repeat(64)}`)
})

test('times beyond 2049 survive', () => {
  const end = Date.UTC(2051, 5, 1)
  expect(new X509Certificate(issue({ notAfter: end })).validToDate.getTime()).toBe(end)
})

test.skipIf(!hasOpenssl)('openssl in strict mode accepts the purpose issued for and no other', () => {
  const client = issue()
  const server = issue({ usage: 'server', names: { dns: ['a.example'] } })
  expect(opensslVerify(client, authority.certificatePem, '-purpose', 'sslclient')).toMatch(/: OK$/)
  expect(opensslVerify(server, authority.certificatePem, '-purpose', 'sslserver', '-verify_hostname', 'a.example')).toMatch(/: OK$/)
  expect(opensslVerify(client, authority.certificatePem, '-purpose', 'sslserver')).toMatch(
    /unsuitable certificate purpose|unsupported certificate purpose/,
  )
  expect(opensslVerify(server, authority.certificatePem, '-purpose', 'sslclient')).toMatch(
    /unsuitable certificate purpose|unsupported certificate purpose/,
  )
})

test.skipIf(!hasOpenssl)('openssl in strict mode accepts Ed25519 holders, non-ASCII subjects and self-signed servers', () => {
  const ed25519 = generateKeyPairSync('ed25519').publicKey
  expect(opensslVerify(issue({ publicKey: ed25519 }), authority.certificatePem, '-purpose', 'sslclient')).toMatch(/: OK$/)
  expect(opensslVerify(issue({ subject: { commonName: 'Ünal, "x"' } }), authority.certificatePem)).toMatch(/: OK$/)
  const self = issue({ usage: 'server', issuer: { self: privateKey }, names: { dns: ['localhost'], ip: ['127.0.0.1'] } })
  expect(opensslVerify(self, self, '-purpose', 'sslserver', '-verify_ip', '127.0.0.1')).toMatch(/: OK$/)
})

test.skipIf(!hasOpenssl)('openssl refuses a chain that a client certificate signs', () => {
  const child = issue({
    issuer: { certificatePem: issue(), privateKey },
    publicKey: generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey,
  })
  writeFileSync(join(folder, 'middle.pem'), issue())
  expect(opensslVerify(child, authority.certificatePem, '-untrusted', join(folder, 'middle.pem'))).toContain('verification failed')
})

test.skipIf(!hasOpenssl)('openssl prints the key usages that were asked for', () => {
  writeFileSync(join(folder, 'shown.pem'), authority.certificatePem)
  const text = execFileSync('openssl', ['x509', '-in', join(folder, 'shown.pem'), '-noout', '-ext', 'keyUsage,basicConstraints'], {
    encoding: 'utf8',
  })
  expect(text).toContain('Certificate Sign, CRL Sign')
  expect(text).toContain('CA:TRUE, pathlen:0')
})

import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createAuthority } from './authority.ts'
import type { Authority } from './authority.ts'
import { issueCertificate } from './certificate.ts'
import type { CertificateRequest } from './certificate.ts'
import { issueIdentityCertificate, verifyIdentityCertificate } from './identity-certificate.ts'
import type { IdentityFields } from './identity-uris.ts'
import { findIdentityFields, findUris, renderIdentityUris } from './identity-uris.ts'

const NOW = Date.UTC(2027, 0, 15, 12)
const HOUR = 3_600_000
const userCa = createAuthority('user', 'example', NOW)
const hostCa = createAuthority('host', 'example', NOW)
const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const ANA: IdentityFields = { kind: 'user', name: 'ana', roles: ['access', 'editor'], mfaVerified: true }

function issue(fields: Partial<IdentityFields> = {}, authority: Authority = userCa, clusterName = 'example') {
  return issueIdentityCertificate(
    authority,
    clusterName,
    publicKey,
    { ...ANA, ...fields },
    { now: NOW, ttlMs: HOUR, serial: Buffer.alloc(16, 0xab) },
  )
}

/** A certificate with any SAN, as a faulty or older issuer under our own CA might make it. */
function issueRaw(names: CertificateRequest['names'], changes: Partial<CertificateRequest> = {}): string {
  return issueCertificate({
    subject: { commonName: 'ana' },
    publicKey,
    issuer: userCa,
    notBefore: NOW - 60_000,
    notAfter: NOW + HOUR,
    usage: 'client',
    serial: Buffer.alloc(16, 1),
    ...changes,
    ...(names && { names }),
  })
}

function verify(pem: string, { cas = [userCa, hostCa], now = NOW, clusterName = 'example' } = {}) {
  return verifyIdentityCertificate(
    new X509Certificate(pem),
    cas.map((ca) => ca.certificatePem),
    { clusterName, now },
  )
}

function refusalOf(action: () => unknown): { code: unknown; message: unknown } {
  try {
    action()
  } catch (thrown) {
    if (thrown instanceof Error) return { code: 'code' in thrown && thrown.code, message: thrown.message }
  }
  throw new Error('nothing was refused')
}

test('refuses a certificate of another CA, even one with the same name', () => {
  const stranger = createAuthority('user', 'example', NOW)
  expect(refusalOf(() => verify(issue({}, stranger).certificatePem))).toEqual({
    code: 'unauthenticated',
    message: 'the certificate was not issued by the cluster example',
  })
  expect(refusalOf(() => verify(issue().certificatePem, { cas: [] })).code).toBe('unauthenticated')
})

test('refuses a certificate whose signed part was changed', () => {
  const raw = Buffer.from(new X509Certificate(issue().certificatePem).raw)
  raw.write('bob', raw.lastIndexOf('ana'))
  const forged = `-----BEGIN CERTIFICATE-----\n${raw.toString('base64')}\n-----END CERTIFICATE-----`
  expect(new X509Certificate(forged).subjectAltName).toContain('/user/bob')
  expect(refusalOf(() => verify(forged)).message).toBe('the certificate was not issued by the cluster example')
})

test('refuses certificates outside their time', () => {
  const { certificatePem } = issue()
  expect(refusalOf(() => verify(certificatePem, { now: NOW + HOUR }))).toEqual({
    code: 'unauthenticated',
    message: 'certificate expired at 2027-01-15T13:00:00.000Z: run tsh login',
  })
  expect(refusalOf(() => verify(certificatePem, { now: NOW - 60_001 })).message).toBe(
    "certificate is not valid before 2027-01-15T11:59:00.000Z: check this machine's clock",
  )
  expect(verify(certificatePem, { now: NOW + HOUR - 1 }).name).toBe('ana')
  expect(verify(certificatePem, { now: NOW - 60_000 }).name).toBe('ana')
})

test('refuses a certificate that would outlive its CA', () => {
  const late = Date.UTC(2037, 0, 15, 12)
  const pem = issueRaw({ uri: ['spiffe://example/user/ana'] }, { notAfter: late + HOUR })
  expect(refusalOf(() => verify(pem, { now: late })).message).toBe('CA certificate expired at 2037-01-15T12:00:00.000Z: run tsh login')
})

test('refuses server certificates, CA certificates and certificates without a purpose', () => {
  const uri = ['spiffe://example/user/ana']
  expect(refusalOf(() => verify(issueRaw({ uri }, { usage: 'server' }))).message).toBe('the certificate is not a client certificate')
  expect(refusalOf(() => verify(issueRaw({ uri }, { usage: 'ca' }))).message).toBe('the certificate is not a client certificate')
  expect(refusalOf(() => verify(userCa.certificatePem)).message).toBe('the certificate is not a client certificate')
})

test('refuses what another certificate of a client signs', () => {
  const holder = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { certificatePem } = issueIdentityCertificate(userCa, 'example', holder.publicKey, ANA, { now: NOW, ttlMs: HOUR })
  const child = issueRaw({ uri: ['spiffe://example/user/root'] }, { issuer: { certificatePem, privateKey: holder.privateKey } })
  expect(refusalOf(() => verify(child)).message).toBe('the certificate was not issued by the cluster example')
  const trusting = () => verifyIdentityCertificate(new X509Certificate(child), [certificatePem], { clusterName: 'example', now: NOW })
  expect(refusalOf(trusting).message).toBe('the certificate was not issued by the cluster example')
})

test('refuses another cluster', () => {
  expect(refusalOf(() => verify(issue({}, userCa, 'other').certificatePem)).message).toBe(
    'the certificate carries no identity of the cluster example',
  )
  expect(refusalOf(() => verify(issue().certificatePem, { clusterName: 'Example' })).code).toBe('unauthenticated')
})

test('the host CA vouches for no user, the user CA for no host', () => {
  expect(() => issue({}, hostCa)).toThrow('the host CA does not sign a user')
  expect(() => issue({ kind: 'bot' }, hostCa)).toThrow('the host CA does not sign a bot')
  expect(() => issue({ kind: 'host' })).toThrow('the user CA does not sign a host')
  expect(refusalOf(() => verify(issueRaw({ uri: ['spiffe://example/user/ana'] }, { issuer: hostCa }))).message).toBe(
    "the certificate's CA may not vouch for a user",
  )
  expect(refusalOf(() => verify(issueRaw({ uri: ['spiffe://example/host/h1'] }))).message).toBe(
    "the certificate's CA may not vouch for a host",
  )
})

test.each([
  [[]],
  [['sallyport:role/access']],
  [['spiffe://example/user/']],
  [['spiffe://example/admin/ana']],
  [['spiffe://example/user/ana/extra']],
  [['spiffe://example/user/ana?x']],
  [['spiffe://example/user/%61na']],
  [['spiffe://example/user/%zz']],
  [['spiffe://example/user/%ff']],
  [['spiffe://example/user/a%2cb']],
  [['spiffe://example/user/..']],
  [['spiffe://example/user/a%00b']],
  [['SPIFFE://example/user/ana']],
  [['spiffe://example/user/ana', 'spiffe://example/user/bob']],
  [['spiffe://example/user/ana', 'spiffe://example/user/ana']],
  [['sallyport:role/access', 'spiffe://example/user/ana']],
  [['spiffe://example/user/ana', 'sallyport:role/access', 'sallyport:role/access']],
  [['spiffe://example/user/ana', 'sallyport:role/']],
  [['spiffe://example/user/ana', 'sallyport:roles/access']],
  [['spiffe://example/user/ana', 'sallyport:toString/x']],
  [['spiffe://example/user/ana', 'sallyport:mfa/false']],
  [['spiffe://example/user/ana', 'sallyport:mfa/true', 'sallyport:mfa/true']],
  [['spiffe://example/user/ana', 'sallyport:mfa/true', 'sallyport:role/access']],
  [['spiffe://example/user/ana', 'sallyport:allow_reissue/yes']],
  [['spiffe://example/user/ana', 'sallyport:join_token/a', 'sallyport:join_token/b']],
  [['spiffe://example/user/ana', 'https://example/role/admin']],
  [['spiffe://example/user/ana', 'sallyport:role/a,b']],
  [['spiffe://example/user/a"b']],
])('refuses the names %j', (uri) => {
  expect(refusalOf(() => verify(issueRaw(uri.length > 0 ? { uri } : {})))).toEqual({
    code: 'unauthenticated',
    message: 'the certificate carries no identity of the cluster example',
  })
})

test('refuses names of other kinds beside the identity', () => {
  const uri = ['spiffe://example/user/ana']
  expect(refusalOf(() => verify(issueRaw({ uri, dns: ['a.example'] }))).code).toBe('unauthenticated')
  expect(refusalOf(() => verify(issueRaw({ uri, ip: ['127.0.0.1'] }))).code).toBe('unauthenticated')
})

test.each([
  ['DNS:a, URI:spiffe://example/user/ana'],
  ['URI:"spiffe://example/user/ana"'],
  ['URI:spiffe://example/user/ana,URI:x:y'],
  ['URI:spiffe://example/user/ana, '],
  ['URI:spiffe://example/user/änä'],
  ['othername:<unsupported>'],
  [''],
])('finds no URIs in %j', (text) => {
  expect(findUris(text)).toBeUndefined()
})

test.each(['', '.', '..', 'a\0b', 'a\nb', 'a\ud800', 'x'.repeat(256)])('issues nothing for the name %j', (name) => {
  expect(refusalOf(() => issue({ name })).code).toBe('invalid_argument')
  expect(refusalOf(() => issue({ roles: [name] })).code).toBe('invalid_argument')
  expect(refusalOf(() => issue({ joinToken: name })).code).toBe('invalid_argument')
})

test('a role list beyond all reason is refused', () => {
  const roles = Array.from({ length: 513 }, (_, index) => `r${index}`)
  expect(refusalOf(() => issue({ roles })).message).toBe('a certificate carries at most 512 roles')
})

test('the facts of a user', () => {
  expect(verify(issue().certificatePem)).toEqual({
    kind: 'user',
    name: 'ana',
    roles: ['access', 'editor'],
    mfaVerified: true,
    serial: 'ABABABABABABABABABABABABABABABAB',
    expiresAt: 1_800_018_000_000,
  })
})

test('the facts of a bot', () => {
  const fields: IdentityFields = {
    kind: 'bot',
    name: 'bot-ci',
    roles: [],
    mfaVerified: false,
    account: '0a1b',
    allowReissue: false,
    botInstanceId: 'i-1',
    joinToken: 'ci/1',
  }
  const { certificatePem, serial, expiresAt } = issueIdentityCertificate(userCa, 'example', publicKey, fields, { now: NOW, ttlMs: HOUR })
  expect(verify(certificatePem)).toEqual({ ...fields, serial, expiresAt })
  expect(serial).toMatch(/^[0-9A-F]{20,32}$/)
})

test('the facts of a host', () => {
  const fields: IdentityFields = { kind: 'host', name: 'h-1', roles: ['App'], mfaVerified: false }
  expect(verify(issue({ ...fields }, hostCa).certificatePem)).toMatchObject(fields)
})

test('any of several CAs may have issued it, as during a rotation', () => {
  const next = createAuthority('user', 'example', NOW)
  expect(verify(issue({}, next).certificatePem, { cas: [userCa, next] }).name).toBe('ana')
})

test('a certificate ends with its CA', () => {
  const now = Date.UTC(2037, 0, 15, 11, 30)
  const { expiresAt } = issueIdentityCertificate(userCa, 'example', publicKey, ANA, { now, ttlMs: HOUR })
  expect(new Date(expiresAt).toISOString()).toBe('2037-01-15T12:00:00.000Z')
})

test('the wire spelling', () => {
  expect(
    new X509Certificate(issue({ kind: 'bot', name: 'a, URI:x/"é', roles: ["it's (1)*!"], allowReissue: true }).certificatePem)
      .subjectAltName,
  ).toBe(
    'URI:spiffe://example/bot/a%2C%20URI%3Ax%2F%22%C3%A9, URI:sallyport:role/it%27s%20%281%29%2A%21, ' +
      'URI:sallyport:mfa/true, URI:sallyport:allow_reissue/true',
  )
})

test.each([
  'a,b',
  'a, URI:spiffe://example/user/root',
  '"quoted"',
  'ana@example.com',
  'Zoë 日本 😀',
  'a/b',
  '../root',
  'a%2Fb',
  '%',
  'constructor',
  '__proto__',
])('the name %j survives', (name) => {
  expect(verify(issue({ name, roles: [name] }).certificatePem)).toMatchObject({ name, roles: [name] })
})

test('every acceptable identity survives the way through its URIs and no two share a spelling', () => {
  const text = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
    .filter((value) => !/\p{Cc}/u.test(value) && value !== '.' && value !== '..')
  const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined })
  const fields = fc.record({
    kind: fc.constantFrom('user', 'bot', 'host'),
    name: text,
    roles: fc.uniqueArray(text, { maxLength: 5 }),
    mfaVerified: fc.boolean(),
    allowReissue: optional(fc.boolean()),
    botInstanceId: optional(text),
    joinToken: optional(text),
    joinMethod: optional(text),
    generation: optional(fc.nat()),
    internal: optional(fc.boolean()),
  })
  fc.assert(
    fc.property(fields, fields, text, (one, two, clusterName) => {
      const uris = renderIdentityUris(clusterName, one)
      expect(findUris(uris.map((uri) => `URI:${uri}`).join(', '))).toEqual(uris)
      expect(findIdentityFields(clusterName, uris)).toEqual(one)
      expect(uris.join() === renderIdentityUris(clusterName, two).join()).toBe(JSON.stringify(one) === JSON.stringify(two))
    }),
  )
})

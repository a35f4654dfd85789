import { createHash, createPublicKey, X509Certificate } from 'node:crypto'
import { expect, test } from 'vitest'
import { createAuthority, pinOf } from './authority.ts'

const NOW = Date.UTC(2027, 0, 15, 12)

test('refuses a cluster name that cannot stand in a certificate', () => {
  expect(() => createAuthority('user', '', NOW)).toThrow('cannot stand in a certificate')
  expect(() => createAuthority('user', 'a\0b', NOW)).toThrow('cannot stand in a certificate')
})

test('is a self-signed CA for ten years, dated back a minute', () => {
  const { type, certificatePem, privateKey } = createAuthority('host', 'example', NOW)
  const certificate = new X509Certificate(certificatePem)
  expect(type).toBe('host')
  expect(certificate.ca).toBe(true)
  expect(certificate.subject).toBe('O=example\nCN=Sallyport host CA')
  expect(certificate.subjectAltName).toBe('URI:spiffe://example, URI:sallyport:authority/host')
  expect(certificate.validFromDate.toISOString()).toBe('2027-01-15T11:59:00.000Z')
  expect(certificate.validToDate.toISOString()).toBe('2037-01-15T12:00:00.000Z')
  expect(certificate.checkIssued(certificate) && certificate.verify(certificate.publicKey)).toBe(true)
  expect(certificate.checkPrivateKey(privateKey)).toBe(true)
})

test('two authorities share neither key nor pin nor serial', () => {
  const [one, two] = [createAuthority('user', 'example', NOW), createAuthority('user', 'example', NOW)]
  expect(pinOf(one.certificatePem)).not.toBe(pinOf(two.certificatePem))
  expect(new X509Certificate(one.certificatePem).serialNumber).not.toBe(new X509Certificate(two.certificatePem).serialNumber)
})

test('the pin of a known certificate', () => {
  // Made with openssl; its pin by: openssl x509 -pubkey -noout | openssl pkey -pubin -outform der | sha256sum
  const pem = `-----BEGIN CERTIFICATE-----
MIIBczCCARmgAwIBAgIULphUIdmHuwe3LCbU7eRrxVugotQwCgYIKoZIzj0EAwIw
DjEMMAoGA1UEAwwDcGluMCAXDTI2MTEyMTAyMzMxNVoYDzIxMjYxMDI4MDIzMzE1
WjAOMQwwCgYDVQQDDANwaW4wWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATD3qDZ
gU4vr1R+k6B9r+yj/4kWXv5rErpTZAHFFjLQDDGmlLSyKVsTQ3gEH+ImVFAFVO8J
UAopeCcT5Iw0IXt7o1MwUTAdBgNVHQ4EFgQUrFfFdNdAg4XpEgtV+Gn4kJ1k/M8w
HwYDVR0jBBgwFoAUrFfFdNdAg4XpEgtV+Gn4kJ1k/M8wDwYDVR0TAQH/BAUwAwEB
/zAKBggqhkjOPQQDAgNIADBFAiEAxJnsbFcr/NF18QhZNNw5Hcdw0Tp/ElUKSXzD
vcfe9ikCIDsXKGirQRcu/kTCO1wMwekEzCRsS56s11HfmqF7boWs
-----END CERTIFICATE-----`
  expect(pinOf(pem)).toBe('sha256:722d4338ced5d87825628a7ed78bd009f5ac714da2487e3c26f58d675dc3c6de')
})

test('the pin covers the public key as the private key knows it', () => {
  const { certificatePem, privateKey } = createAuthority('user', 'example', NOW)
  const spki = createPublicKey(privateKey).export({ type: 'spki', format: 'der' })
  expect(pinOf(certificatePem)).toBe(`sha256:${createHash('sha256').update(spki).digest('hex')}`)
})

import { createHash, sign, X509Certificate } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { isIPv4, isIPv6 } from 'node:net'
import { AppError } from '../lib/errors.ts'
import {
  bitString,
  boolean,
  contentOf,
  elementsOf,
  explicit,
  implicit,
  integer,
  namedBits,
  objectId,
  octetString,
  sequence,
  set,
  time,
  utf8String,
} from './der.ts'

const OID = {
  commonName: '2.5.4.3',
  organization: '2.5.4.10',
  organizationalUnit: '2.5.4.11',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
} as const

export const EXTENDED_USAGE = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2' } as const

/** Who signs: a CA certificate and its key. An `Authority` is one. */
export interface Issuer {
  certificatePem: string
  privateKey: KeyObject
}

export interface CertificateRequest {
  /** Every value is cut to 64 characters (RFC 5280, appendix A.1); what must be exact belongs in `names`. */
  subject: { commonName: string; organization?: string[]; organizationalUnit?: string }
  publicKey: KeyObject
  /** `self` carries the private key of `publicKey`. */
  issuer: Issuer | { self: KeyObject }
  /** Milliseconds since 1970. Clocks differ, so callers date this back a little. */
  notBefore: number
  notAfter: number
  /** `workload`: client and server. */
  usage: 'ca' | 'server' | 'client' | 'workload'
  names?: { dns?: string[]; ip?: string[]; uri?: string[] }
  /** 16 to 19 random bytes: RFC 5280 4.1.2.2 allows 20 octets including a sign. */
  serial: Uint8Array
}

/**
 * Issues an X.509 v3 certificate (RFC 5280), signed with ECDSA P-256 and SHA-256, as PEM.
 * A CA may sign end certificates only (path length 0). Names or times that do not fit throw `invalid_argument`.
 */
export function issueCertificate(request: CertificateRequest): string {
  const { issuer } = request
  const privateKey = 'self' in issuer ? issuer.self : issuer.privateKey
  if (privateKey.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
    throw new AppError('internal', 'certificates are signed with EC P-256 keys only')
  if (!(request.notBefore < request.notAfter)) throw new AppError('invalid_argument', 'a certificate must end after it begins')
  if (request.serial.length < 16 || request.serial.length > 19 || request.serial.every((byte) => byte === 0))
    throw new AppError('internal', 'a certificate serial needs 16 to 19 random bytes')
  const subject = renderName(request.subject)
  const authority = 'self' in issuer ? undefined : new X509Certificate(issuer.certificatePem)
  if (authority && !authority.checkPrivateKey(privateKey))
    throw new AppError('internal', 'the key of the CA does not belong to its certificate')
  const algorithm = sequence(objectId(OID.ecdsaWithSha256))
  const body = sequence(
    explicit(0, integer(2)),
    integer(request.serial),
    algorithm,
    authority ? subjectOf(authority) : subject,
    sequence(time(request.notBefore), time(request.notAfter)),
    subject,
    spkiOf(request.publicKey),
    explicit(3, sequence(...extensions(request, authority))),
  )
  return renderPem(sequence(body, algorithm, bitString(sign('sha256', body, privateKey))))
}

function extensions({ usage, publicKey, names }: CertificateRequest, authority: X509Certificate | undefined): Buffer[] {
  const isCa = usage === 'ca'
  const list = [
    extension(OID.basicConstraints, true, isCa ? sequence(boolean(true), integer(0)) : sequence()),
    // keyCertSign (5) and cRLSign (6), or digitalSignature (0): all that TLS 1.3 needs.
    extension(OID.keyUsage, true, isCa ? namedBits(5, 6) : namedBits(0)),
    extension(OID.subjectKeyIdentifier, false, octetString(keyIdentifier(publicKey))),
  ]
  if (!isCa) list.push(extension(OID.extendedKeyUsage, false, sequence(...usagesOf(usage).map(objectId))))
  // Our CAs name their keys by the same rule, so the identifier need not be read back from the CA certificate.
  if (authority) list.push(extension(OID.authorityKeyIdentifier, false, sequence(implicit(0, keyIdentifier(authority.publicKey)))))
  const alternatives = [
    ...(names?.dns ?? []).map((name) => implicit(2, Buffer.from(checkDns(name)))),
    ...(names?.uri ?? []).map((uri) => implicit(6, Buffer.from(checkUri(uri)))),
    ...(names?.ip ?? []).map((address) => implicit(7, addressBytes(address))),
  ]
  if (alternatives.length > 0) list.push(extension(OID.subjectAltName, false, sequence(...alternatives)))
  return list
}

function usagesOf(usage: 'server' | 'client' | 'workload'): string[] {
  return usage === 'workload' ? [EXTENDED_USAGE.server, EXTENDED_USAGE.client] : [EXTENDED_USAGE[usage]]
}

function extension(oid: string, critical: boolean, value: Buffer): Buffer {
  return sequence(objectId(oid), ...(critical ? [boolean(true)] : []), octetString(value))
}

function renderName({ commonName, organization = [], organizationalUnit }: CertificateRequest['subject']): Buffer {
  const attributes: [string, string][] = [
    ...organization.map((value): [string, string] => [OID.organization, value]),
    ...(organizationalUnit === undefined ? [] : [[OID.organizationalUnit, organizationalUnit] satisfies [string, string]]),
    [OID.commonName, commonName],
  ]
  return sequence(
    ...attributes.map(([oid, value]) => {
      if (value === '' || !value.isWellFormed())
        throw new AppError('invalid_argument', 'a certificate subject must not hold empty or broken text')
      return set(sequence(objectId(oid), utf8String(Array.from(value).slice(0, 64).join(''))))
    }),
  )
}

/** The subject exactly as the CA certificate spells it: chains are built by comparing these bytes. */
function subjectOf(certificate: X509Certificate): Buffer {
  const [body] = elementsOf(certificate.raw)
  const subject = body && elementsOf(body)[5]
  if (!subject) throw new AppError('internal', 'the CA certificate cannot be read')
  return subject
}

/** RFC 7093 section 2, method 1: the first 160 bits of SHA-256 over the public key's bits. */
function keyIdentifier(publicKey: KeyObject): Buffer {
  const bits = elementsOf(spkiOf(publicKey))[1]
  if (!bits) throw new AppError('internal', 'the public key cannot be read')
  return createHash('sha256').update(contentOf(bits).subarray(1)).digest().subarray(0, 20)
}

function spkiOf(publicKey: KeyObject): Buffer {
  if (publicKey.type !== 'public') throw new AppError('internal', 'a certificate is issued for a public key')
  return publicKey.export({ type: 'spki', format: 'der' })
}

function checkDns(name: string): string {
  const labels = (name.startsWith('*.') ? name.slice(2) : name).split('.')
  if (name.length > 253 || !labels.every((label) => /^[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/.test(label)))
    throw new AppError('invalid_argument', `"${name}" is not a DNS name (write international names in their xn-- form)`)
  return name
}

function checkUri(uri: string): string {
  if (uri.length > 2048 || !/^[A-Za-z][A-Za-z0-9+.-]*:[\x21-\x7e]+$/.test(uri))
    throw new AppError('invalid_argument', `"${uri}" is not an absolute URI in ASCII`)
  return uri
}

function addressBytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number))
  if (!isIPv6(address) || address.includes('%')) throw new AppError('invalid_argument', `"${address}" is not an IP address`)
  // The URL parser writes an IPv6 address in one form: hexadecimal groups with at most one "::".
  const [head = '', tail] = new URL(`http://[${address}]/`).hostname.slice(1, -1).split('::')
  const left = head.split(':').filter(Boolean)
  const right = (tail ?? '').split(':').filter(Boolean)
  const groups = [...left, ...Array.from({ length: 8 - left.length - right.length }, () => '0'), ...right]
  return Buffer.from(groups.map((group) => group.padStart(4, '0')).join(''), 'hex')
}

function renderPem(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}

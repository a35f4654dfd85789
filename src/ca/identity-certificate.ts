import { randomBytes, X509Certificate } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { AppError } from '../lib/errors.ts'
import { BACKDATE_MS } from './authority.ts'
import type { Authority } from './authority.ts'
import { EXTENDED_USAGE, issueCertificate } from './certificate.ts'
import { findIdentityFields, findUris, renderAuthorityUris, renderIdentityUris } from './identity-uris.ts'
import type { AuthorityType, IdentityFields } from './identity-uris.ts'

/** What a verified client certificate proves. */
export interface CertificateFacts extends IdentityFields {
  /** The credential id, in upper-case hex as `X509Certificate.serialNumber` writes it. */
  serial: string
  /** Milliseconds since 1970. */
  expiresAt: number
}

export interface IssuedCertificate {
  certificatePem: string
  serial: string
  expiresAt: number
}

/**
 * A client certificate that carries an identity in its SAN URIs, valid from a minute before `now` for `ttlMs`, never longer than its CA.
 * Users and bots need the user CA, hosts the host CA; the wrong one throws `internal`, unfit names throw `invalid_argument`.
 */
export function issueIdentityCertificate(
  authority: Authority,
  clusterName: string,
  publicKey: KeyObject,
  fields: IdentityFields,
  options: { now: number; ttlMs: number; serial?: Uint8Array },
): IssuedCertificate {
  if (authority.type !== authorityTypeFor(fields.kind))
    throw new AppError('internal', `the ${authority.type} CA does not sign a ${fields.kind}`)
  const caEnd = new X509Certificate(authority.certificatePem).validToDate.getTime()
  const certificatePem = issueCertificate({
    subject: { commonName: fields.name, organization: [clusterName] },
    publicKey,
    issuer: authority,
    notBefore: options.now - BACKDATE_MS,
    notAfter: Math.min(options.now + options.ttlMs, caEnd),
    usage: 'client',
    names: { uri: renderIdentityUris(clusterName, fields) },
    serial: options.serial ?? randomBytes(16),
  })
  const issued = new X509Certificate(certificatePem)
  return { certificatePem, serial: issued.serialNumber, expiresAt: issued.validToDate.getTime() }
}

/**
 * Verifies a client certificate against our CAs without trusting the TLS layer's verdict: signature, issuer, validity, purpose and
 * the exact spelling of its identity. Throws `unauthenticated` with the reason.
 */
export function verifyIdentityCertificate(
  certificate: X509Certificate,
  authorityPems: string[],
  { clusterName, now }: { clusterName: string; now: number },
): CertificateFacts {
  const authority = authorityPems
    .map((pem) => new X509Certificate(pem))
    .find((candidate) => certificate.checkIssued(candidate) && certificate.verify(candidate.publicKey))
  if (!authority?.ca) throw refusal(`the certificate was not issued by the cluster ${clusterName}`)
  // Node leaves keyUsage undefined without an extended key usage; its type does not say so.
  const usages: string[] | undefined = certificate.keyUsage
  if (certificate.ca || usages?.length !== 1 || usages[0] !== EXTENDED_USAGE.client)
    throw refusal('the certificate is not a client certificate')
  const fields = findIdentityFields(clusterName, findUris(certificate.subjectAltName) ?? [])
  checkValidity(certificate, now, fields?.kind)
  checkValidity(authority, now, fields?.kind)
  if (!fields) throw refusal(`the certificate carries no identity of the cluster ${clusterName}`)
  const expected = renderAuthorityUris(authorityTypeFor(fields.kind), clusterName)
  if (findUris(authority.subjectAltName)?.join(' ') !== expected.join(' '))
    throw refusal(`the certificate's CA may not vouch for a ${fields.kind}`)
  return { ...fields, serial: certificate.serialNumber, expiresAt: certificate.validToDate.getTime() }
}

function authorityTypeFor(kind: IdentityFields['kind']): AuthorityType {
  return kind === 'host' ? 'host' : 'user'
}

function checkValidity(certificate: X509Certificate, now: number, kind: IdentityFields['kind'] | undefined): void {
  const { validFromDate, validToDate } = certificate
  const what = certificate.ca ? 'CA certificate' : 'certificate'
  if (now < validFromDate.getTime()) throw refusal(`${what} is not valid before ${validFromDate.toISOString()}: check this machine's clock`)
  const remedy = kind === 'host' || kind === 'bot' ? 'join again' : 'run tsh login'
  if (now >= validToDate.getTime()) throw refusal(`${what} expired at ${validToDate.toISOString()}: ${remedy}`)
}

function refusal(reason: string): AppError {
  return new AppError('unauthenticated', reason)
}

import { randomBytes, randomUUID, X509Certificate } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { SignJWT } from 'jose'
import { AppError } from '../lib/errors.ts'
import { jwksOf } from './assertion.ts'
import type { PublicJwk, Signer, VerificationKey } from './assertion.ts'
import { BACKDATE_MS } from './authority.ts'
import type { Authority } from './authority.ts'
import { issueCertificate } from './certificate.ts'
import type { CertificateRequest } from './certificate.ts'
import type { IssuedCertificate } from './identity-certificate.ts'

/** How often whoever trusts our workloads should read the bundle again, in seconds. */
const REFRESH_SECONDS = 300

/** The SPIFFE trust domain of a cluster: names of trust domains have no capitals (SPIFFE-ID, section 2.1). */
export function trustDomainOf(clusterName: string): string {
  return clusterName.toLowerCase()
}

/**
 * An X509-SVID: a certificate whose one URI is the SPIFFE ID, for clients and servers alike (X509-SVID, sections 2 to 4). It never outlives its CA.
 * Names that do not fit throw `invalid_argument`.
 */
export function issueX509Svid(
  authority: Authority,
  publicKey: KeyObject,
  { spiffeId, dnsNames, subject }: { spiffeId: string; dnsNames: string[]; subject: CertificateRequest['subject'] },
  { now, ttlMs, serial = randomBytes(16) }: { now: number; ttlMs: number; serial?: Uint8Array },
): IssuedCertificate {
  if (authority.type !== 'spiffe') throw new AppError('internal', `the ${authority.type} CA signs no workloads`)
  const certificatePem = issueCertificate({
    subject,
    publicKey,
    issuer: authority,
    notBefore: now - BACKDATE_MS,
    notAfter: Math.min(now + ttlMs, new X509Certificate(authority.certificatePem).validToDate.getTime()),
    usage: 'workload',
    names: { uri: [spiffeId], dns: dnsNames },
    serial,
  })
  const issued = new X509Certificate(certificatePem)
  return { certificatePem, serial: issued.serialNumber, expiresAt: issued.validToDate.getTime() }
}

/** A JWT-SVID (JWT-SVID, section 3), ES256. `issuer` is for those who verify it by OpenID Connect discovery. */
export async function issueJwtSvid(
  signer: Signer,
  svid: { spiffeId: string; audiences: readonly string[]; issuer: string; claims: Readonly<Record<string, unknown>> },
  { now, ttlMs }: { now: number; ttlMs: number },
): Promise<{ token: string; id: string; expiresAt: number }> {
  const issuedAt = Math.floor(now / 1000)
  const expiresAt = issuedAt + Math.floor(ttlMs / 1000)
  const id = randomUUID()
  const token = await new SignJWT({ ...svid.claims })
    .setProtectedHeader({ alg: 'ES256', typ: 'JWT', kid: signer.kid })
    .setSubject(svid.spiffeId)
    .setAudience([...svid.audiences])
    .setIssuer(svid.issuer)
    .setJti(id)
    .setIssuedAt(issuedAt)
    .setExpirationTime(expiresAt)
    .sign(signer.privateKey)
  return { token, id, expiresAt: expiresAt * 1000 }
}

type BundleKey = Omit<PublicJwk, 'use' | 'kid' | 'alg'> & { use: string; kid?: string; x5c?: string[] }

/** The trust bundle as the SPIFFE Trust Domain and Bundle specification writes it, section 4: what verifies both sorts of SVID. */
export function renderSpiffeBundle(authorityPem: string, jwtKeys: VerificationKey[]): { keys: BundleKey[]; spiffe_refresh_hint: number } {
  const authority = new X509Certificate(authorityPem)
  const [x509] = jwksOf([{ kid: '', publicKey: authority.publicKey }]).keys
  if (!x509) throw new AppError('internal', 'the SPIFFE CA has no key')
  const { kty, crv, x, y } = x509
  const jwt = jwksOf(jwtKeys).keys.map((key) => ({ kty: key.kty, crv: key.crv, x: key.x, y: key.y, kid: key.kid, use: 'jwt-svid' }))
  return {
    keys: [{ kty, crv, x, y, use: 'x509-svid', x5c: [authority.raw.toString('base64')] }, ...jwt],
    spiffe_refresh_hint: REFRESH_SECONDS,
  }
}

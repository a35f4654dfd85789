import { createHash, generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto'
import { issueCertificate } from './certificate.ts'
import type { Issuer } from './certificate.ts'
import { renderAuthorityUris } from './identity-uris.ts'
import type { AuthorityType } from './identity-uris.ts'

/**
 * A certificate authority: `user` signs people and bots, `host` signs agents, proxies and their server certificates, `db` signs database
 * servers, `db_client` the database users that agents connect as, `spiffe` workloads. What trusts one of them trusts none of the others.
 */
export interface Authority extends Issuer {
  type: AuthorityType
}

/** For clocks that run behind ours. */
export const BACKDATE_MS = 60_000

/** A new CA with a fresh P-256 key, valid ten years from `now` (ms since 1970). Its SAN names cluster and type; verifiers check both. */
export function createAuthority(type: AuthorityType, clusterName: string, now: number, serial: Uint8Array = randomBytes(16)): Authority {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const end = new Date(now)
  end.setUTCFullYear(end.getUTCFullYear() + 10)
  const certificatePem = issueCertificate({
    subject: { commonName: `Sallyport ${type} CA`, organization: [clusterName] },
    publicKey,
    issuer: { self: privateKey },
    notBefore: now - BACKDATE_MS,
    notAfter: end.getTime(),
    usage: 'ca',
    names: { uri: renderAuthorityUris(type, clusterName) },
    serial,
  })
  return { type, certificatePem, privateKey }
}

/** The pin of a CA: `sha256:` and the hex SHA-256 of its DER SubjectPublicKeyInfo. Joining machines check the CA by it. */
export function pinOf(certificatePem: string): string {
  const spki = new X509Certificate(certificatePem).publicKey.export({ type: 'spki', format: 'der' })
  return `sha256:${createHash('sha256').update(spki).digest('hex')}`
}

import { createHash, createPublicKey } from 'node:crypto'
import { AppError } from '../lib/errors.ts'

/** What a certificate is asked for: a signature made for one purpose is worth nothing for another. */
export type PossessionPurpose =
  | 'login'
  | 'browser-login'
  | 'sign'
  | 'join'
  | 'join-before'
  | 'bound-keypair'
  | 'renew'
  | 'bot-output'
  | 'svid'

/**
 * The text a client signs with its private key to prove that the public key is its own:
 * `PURPOSE:USER:FINGERPRINT`, the fingerprint being the hex SHA-256 of the key's SubjectPublicKeyInfo (DER).
 * In a browser sign-in the user is not known yet: `user` is the one asked for, or empty. In a join it is the digest of the whole request
 * (`joinDigest`); over mutual TLS, which says who calls, it is empty.
 * A key that cannot be read throws `invalid_argument`.
 */
export function possessionChallenge(purpose: PossessionPurpose, user: string, publicKeyPem: string): string {
  return `${purpose}:${user}:${fingerprint(publicKeyPem)}`
}

function fingerprint(publicKeyPem: string): string {
  try {
    return createHash('sha256')
      .update(createPublicKey(publicKeyPem).export({ type: 'spki', format: 'der' }))
      .digest('hex')
  } catch (cause) {
    throw new AppError('invalid_argument', 'public_key is not a public key in SPKI PEM', { cause })
  }
}

/** What every signature of a join covers: all that is asked for, and the nonce that makes it worth something once. */
export interface JoinStatement {
  nonce: string
  role: string
  token: string
  host_id?: string | undefined
  hostname?: string | undefined
  version?: string | undefined
  ttl?: number | undefined
  proof: { method: string; registration_secret?: string | undefined; join_state?: string | undefined; id_token?: string | undefined }
}

/** The hex SHA-256 of a join request's statement; the same for everybody who reads the same request. */
export function joinDigest({ nonce, role, token, host_id, hostname, version, ttl, proof }: JoinStatement): string {
  const { method, registration_secret, join_state, id_token } = proof
  const parts = [nonce, role, token, host_id, hostname, version, ttl, method, registration_secret, join_state, id_token]
  return createHash('sha256')
    .update(JSON.stringify(parts.map((part) => part ?? null)))
    .digest('hex')
}

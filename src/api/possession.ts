import { createHash, createPublicKey } from 'node:crypto'
import { AppError } from '../lib/errors.ts'

/** What a certificate is asked for: a signature made for one purpose is worth nothing for another. */
export type PossessionPurpose = 'login' | 'browser-login' | 'sign'

/**
 * The text a client signs with its private key to prove that the public key is its own:
 * `PURPOSE:USER:FINGERPRINT`, the fingerprint being the hex SHA-256 of the key's SubjectPublicKeyInfo (DER).
 * In a browser sign-in the user is not known yet: `user` is the one asked for, or empty.
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

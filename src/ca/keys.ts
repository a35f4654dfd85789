import { createPrivateKey, createPublicKey, generateKeyPair as generate, sign, verify } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import { AppError } from '../lib/errors.ts'

export interface KeyPair {
  privateKey: KeyObject
  publicKey: KeyObject
}

const generateAsync = promisify(generate)
/** Keeps a signature made for this purpose from being worth anything for another. */
const POSSESSION_PREFIX = 'sallyport-key-possession-v1\0'

/** How the DER of the keys we accept begins (RFC 5480 with an uncompressed P-256 point; RFC 8410), and how long it is. */
const SPKI_SHAPES = [
  { prefix: '3059301306072a8648ce3d020106082a8648ce3d03010703420004', bytes: 91 },
  { prefix: '302a300506032b6570032100', bytes: 44 },
] as const

/** A fresh EC P-256 key pair. */
export async function generateKeyPair(): Promise<KeyPair> {
  return await generateAsync('ec', { namedCurve: 'P-256' })
}

/** PKCS#8 PEM, not encrypted. */
export function renderPrivateKey(privateKey: KeyObject): string {
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
}

/** SubjectPublicKeyInfo PEM. */
export function renderPublicKey(publicKey: KeyObject): string {
  if (publicKey.type !== 'public') throw new AppError('internal', 'not a public key')
  return publicKey.export({ type: 'spki', format: 'pem' }).toString()
}

/** Any unencrypted private-key PEM with an EC P-256 or Ed25519 key; else `invalid_argument`, without a word of its content. */
export function parsePrivateKey(pem: string): KeyObject {
  if (pem.length > 4096) throw new AppError('invalid_argument', 'the private key is too long')
  let key: KeyObject
  try {
    key = createPrivateKey({ key: pem, format: 'pem' })
  } catch (cause) {
    throw new AppError('invalid_argument', 'the private key cannot be read: it must be an unencrypted PEM', { cause })
  }
  if (!isSupported(key)) throw new AppError('invalid_argument', 'the private key must be EC P-256 or Ed25519')
  return key
}

/**
 * A public key from a stranger: exactly one SubjectPublicKeyInfo PEM (RFC 7468) with an EC P-256 key (uncompressed point) or
 * an Ed25519 key, in its one DER spelling. Anything else, also a private key or a certificate, throws `invalid_argument`.
 * @param field what it is called where the stranger wrote it.
 */
export function parsePublicKey(pem: string, field = 'the public key'): KeyObject {
  const unreadable = `${field} cannot be read: it must be one PEM block "PUBLIC KEY" with an EC P-256 or Ed25519 key`
  const [, body] =
    pem.length > 1024 ? [] : (pem.match(/^\s*-----BEGIN PUBLIC KEY-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END PUBLIC KEY-----\s*$/) ?? [])
  if (!body) throw new AppError('invalid_argument', unreadable)
  const der = Buffer.from(body, 'base64')
  let key: KeyObject
  try {
    key = createPublicKey({ key: der, format: 'der', type: 'spki' })
  } catch (cause) {
    throw new AppError('invalid_argument', unreadable, { cause })
  }
  // OpenSSL also accepts compressed and hybrid points and trailing bytes; each would be a second spelling of one key.
  const canonical = SPKI_SHAPES.some(({ prefix, bytes }) => der.length === bytes && der.toString('hex').startsWith(prefix))
  if (!canonical) throw new AppError('invalid_argument', unreadable)
  return key
}

/** Proves that the caller holds `privateKey`: a signature over the challenge, base64url. */
export function signPossession(privateKey: KeyObject, challenge: string): string {
  return sign(digestFor(privateKey), Buffer.from(POSSESSION_PREFIX + challenge), privateKey).toString('base64url')
}

/** Whether `signature` is one that `signPossession` makes with the private half of `publicKey` for this challenge. */
export function verifyPossession(publicKey: KeyObject, challenge: string, signature: string): boolean {
  if (!isSupported(publicKey) || !/^[A-Za-z0-9_-]{1,200}$/.test(signature)) return false
  return verify(digestFor(publicKey), Buffer.from(POSSESSION_PREFIX + challenge), publicKey, Buffer.from(signature, 'base64url'))
}

function digestFor(key: KeyObject): 'sha256' | null {
  return key.asymmetricKeyType === 'ed25519' ? null : 'sha256'
}

function isSupported(key: KeyObject): boolean {
  return key.asymmetricKeyType === 'ed25519' || (key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1')
}

import { createCipheriv, createDecipheriv } from 'node:crypto'
import { AppError } from '../lib/errors.ts'

/** Values that a client keeps for us and cannot read, change, or use for anything else than what they were made for. */
export interface Sealer {
  /**
   * The value as base64url text.
   * @param binding what it belongs to (owner, request …); it opens with the same one only.
   * @param expiresAt milliseconds since the epoch.
   */
  seal(value: unknown, binding: string, expiresAt: number): string
  /** @throws AppError invalid_argument (-32602) for anything that was not sealed with this key and binding, or has expired. */
  open(text: string, binding: string, now: number): unknown
}

const VERSION = 1
const NONCE_BYTES = 12
const TAG_BYTES = 16
/** Of the text, unless told: what we seal is far smaller. */
const MAX_TEXT = 4096
const BASE64URL = /^[A-Za-z0-9_-]+$/

/**
 * AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce: version byte, nonce, ciphertext, tag. Version and binding are authenticated
 * with it.
 * @param key 32 random bytes.
 * @param random makes nonces.
 * @param maxText characters of what it seals and opens.
 */
export function createSealer(key: Buffer, random: (bytes: number) => Buffer, maxText = MAX_TEXT): Sealer {
  return {
    seal(value, binding, expiresAt) {
      const nonce = random(NONCE_BYTES)
      const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES }).setAAD(authenticated(binding))
      const text = JSON.stringify({ value, expiresAt })
      const sealed = Buffer.concat([Buffer.of(VERSION), nonce, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()])
      const encoded = sealed.toString('base64url')
      if (encoded.length > maxText) throw new AppError('internal', `a state of ${encoded.length} characters is too large to be sealed`)
      return encoded
    },
    open(text, binding, now) {
      const opened = decrypt(key, text, binding, maxText)
      if (typeof opened !== 'object' || opened === null || !('value' in opened) || !('expiresAt' in opened)) throw notValid()
      if (typeof opened.expiresAt !== 'number' || opened.expiresAt <= now) throw notValid()
      return opened.value
    },
  }
}

/** One error for every fault: which one it was is nobody's business. */
export function notValid(cause?: unknown): AppError {
  return new AppError('invalid_argument', 'the requestState is not valid: send the request again without it and without inputResponses', {
    details: { rpc: -32602, http: 200 },
    cause,
  })
}

function decrypt(key: Buffer, text: string, binding: string, maxText: number): unknown {
  if (text.length > maxText || !BASE64URL.test(text)) throw notValid()
  const bytes = Buffer.from(text, 'base64url')
  // Other texts that decode to the same bytes are not what we gave out.
  if (bytes.toString('base64url') !== text || bytes.length <= 1 + NONCE_BYTES + TAG_BYTES || bytes[0] !== VERSION) throw notValid()
  const nonce = bytes.subarray(1, 1 + NONCE_BYTES)
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
    decipher.setAAD(authenticated(binding)).setAuthTag(bytes.subarray(-TAG_BYTES))
    const clear = Buffer.concat([decipher.update(bytes.subarray(1 + NONCE_BYTES, -TAG_BYTES)), decipher.final()])
    return JSON.parse(clear.toString('utf8'))
  } catch (cause) {
    throw notValid(cause)
  }
}

function authenticated(binding: string): Buffer {
  return Buffer.concat([Buffer.of(VERSION), Buffer.from(binding, 'utf8')])
}

import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { AppError } from '../lib/errors.ts'

/** Encrypts secrets at rest. `context` names where a secret belongs (`ca/user`); what was sealed there opens only there. */
export interface Sealer {
  seal(plain: Uint8Array, context: string): string
  /** Throws `internal` when the key or the context is another one or the text was changed. */
  open(sealed: string, context: string): Buffer
}

const ALGORITHM = 'aes-256-gcm'
const VERSION = 'sealed-v1'
const NONCE_BYTES = 12
const TAG_BYTES = 16

/** A sealer with AES-256-GCM under a 32-byte key. Text: `sealed-v1.` and base64url of nonce, ciphertext and tag. */
export function createSealer(key: Uint8Array): Sealer {
  if (key.length !== 32) throw new AppError('internal', 'the key that seals secrets must have 32 bytes')
  const secret = Buffer.from(key)
  return {
    seal(plain, context) {
      const nonce = randomBytes(NONCE_BYTES)
      const cipher = createCipheriv(ALGORITHM, secret, nonce, { authTagLength: TAG_BYTES }).setAAD(contextBytes(context))
      return `${VERSION}.${Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]).toString('base64url')}`
    },
    open(sealed, context) {
      const [version, body, ...more] = sealed.split('.')
      const bytes = Buffer.from(body ?? '', 'base64url')
      // Comparing the re-encoded bytes refuses characters that the lenient decoder skips.
      if (version !== VERSION || more.length > 0 || bytes.length < NONCE_BYTES + TAG_BYTES || bytes.toString('base64url') !== body)
        throw cannotOpen(context)
      const decipher = createDecipheriv(ALGORITHM, secret, bytes.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES })
      decipher.setAAD(contextBytes(context)).setAuthTag(bytes.subarray(-TAG_BYTES))
      const plain = decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES))
      try {
        return Buffer.concat([plain, decipher.final()])
      } catch (cause) {
        throw cannotOpen(context, cause)
      }
    },
  }
}

function contextBytes(context: string): Buffer {
  return Buffer.from(`${VERSION}\0${context}`)
}

function cannotOpen(context: string, cause?: unknown): AppError {
  return new AppError('internal', `cannot open the sealed secret "${context}": it was changed, moved or sealed with another key`, { cause })
}

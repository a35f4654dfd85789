import { createHash, createHmac, pbkdf2, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { AppError } from '../../../lib/errors.ts'

const MECHANISM = 'SCRAM-SHA-256'
/** PostgreSQL's own default; fewer would give the password away to whoever only plays the server. */
const MIN_ITERATIONS = 4096
/** More would keep us computing for a stranger. */
const MAX_ITERATIONS = 1_000_000

const derive = promisify(pbkdf2)

/** The client's side of one authentication by SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding: three texts, in this order. */
export interface Scram {
  mechanism: string
  first: string
  /** @throws AppError unauthenticated for what no honest server sends. */
  answer(serverFirst: string): Promise<string>
  /** @throws AppError unauthenticated when the server does not know the password either. */
  verify(serverFinal: string): void
}

export function createScram(password: string, nonce: string): Scram {
  // The name stands in the startup message; PostgreSQL ignores the one here.
  const bare = `n=,r=${nonce}`
  let expected: Buffer | undefined
  return {
    mechanism: MECHANISM,
    first: `n,,${bare}`,
    answer: async (serverFirst) => {
      const { r: both = '', s: salt = '', i: count = '' } = attributesOf(serverFirst)
      const iterations = Number(count)
      if (!both.startsWith(nonce) || both.length <= nonce.length) throw refused('its nonce does not belong to this authentication')
      if (!Number.isInteger(iterations) || iterations < MIN_ITERATIONS || iterations > MAX_ITERATIONS)
        throw refused(`it asks for ${count.slice(0, 20)} iterations`)
      // SASLprep (RFC 4013) of what people type comes down to NFKC; PostgreSQL takes other texts as they are.
      const salted = await derive(password.normalize('NFKC'), Buffer.from(salt, 'base64'), iterations, 32, 'sha256')
      const clientKey = hmac(salted, 'Client Key')
      const storedKey = createHash('sha256').update(clientKey).digest()
      const withoutProof = `c=biws,r=${both}`
      const message = `${bare},${serverFirst},${withoutProof}`
      const proof = hmac(storedKey, message).map((byte, index) => byte ^ (clientKey[index] ?? 0))
      expected = hmac(hmac(salted, 'Server Key'), message)
      return `${withoutProof},p=${Buffer.from(proof).toString('base64')}`
    },
    verify: (serverFinal) => {
      const { v: given = '' } = attributesOf(serverFinal)
      const signature = Buffer.from(given, 'base64')
      if (!expected || signature.length !== expected.length || !timingSafeEqual(signature, expected))
        throw refused('it does not know the password of this user')
    },
  }
}

function attributesOf(text: string): Record<string, string | undefined> {
  return Object.fromEntries(text.split(',').map((part) => [part.slice(0, 1), part.slice(2)]))
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

function refused(why: string): AppError {
  return new AppError('unauthenticated', `the database server could not be trusted: ${why}`, { origin: 'upstream' })
}

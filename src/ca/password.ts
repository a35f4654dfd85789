import { argon2, randomBytes, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { AppError } from '../lib/errors.ts'

const MAX_CHARACTERS = 256
/** OWASP's argon2id minimum: 19 MiB, two passes, one lane. */
const COST = { memory: 19_456, passes: 2, parallelism: 1 }
const HASH_BYTES = 32
/** What a stored hash may cost us: it comes from the store, where an import or a restore may have put it. */
const MAX_COST = { memory: 131_072, passes: 10, parallelism: 4 }
const PHC = /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$/

const argon2Async = promisify(argon2)

/** The argon2id hash of a password as a PHC string. An empty password or one over 256 characters throws `invalid_argument`. */
export async function hashPassword(password: string, salt: Uint8Array = randomBytes(16)): Promise<string> {
  if (!isUsable(password)) throw new AppError('invalid_argument', `a password must have 1 to ${MAX_CHARACTERS} characters`)
  const hash = await derive(password, { salt, hashBytes: HASH_BYTES, ...COST })
  return `$argon2id$v=19$m=${COST.memory},t=${COST.passes},p=${COST.parallelism}$${unpadded(salt)}$${unpadded(hash)}`
}

/** Whether the password is the one hashed. A PHC string that is broken or too costly throws `internal`. */
export async function verifyPassword(password: string, phc: string): Promise<boolean> {
  const { hash, ...parameters } = parsePhc(phc)
  if (!isUsable(password)) return false
  return timingSafeEqual(await derive(password, { ...parameters, hashBytes: hash.length }), hash)
}

interface Derivation {
  salt: Uint8Array
  hashBytes: number
  memory: number
  passes: number
  parallelism: number
}

async function derive(password: string, { salt, hashBytes, memory, passes, parallelism }: Derivation): Promise<Buffer> {
  // Keyboards differ in how they compose an accented letter; NFC makes it one password (RFC 8265 4.2.2).
  const message = Buffer.from(password.normalize('NFC'))
  return await argon2Async('argon2id', { message, nonce: salt, tagLength: hashBytes, memory, passes, parallelism })
}

function parsePhc(phc: string): Omit<Derivation, 'hashBytes'> & { hash: Buffer } {
  const [, m, t, p, salt = '', hash = ''] = (phc.length <= 256 && phc.match(PHC)) || []
  const [memory, passes, parallelism] = [Number(m), Number(t), Number(p)]
  const affordable = memory <= MAX_COST.memory && passes <= MAX_COST.passes && parallelism <= MAX_COST.parallelism
  if (!affordable || passes < 1 || parallelism < 1 || memory < 8 * parallelism)
    throw new AppError('internal', 'a stored password hash cannot be read: reset the password of this user')
  return { memory, passes, parallelism, salt: Buffer.from(salt, 'base64'), hash: Buffer.from(hash, 'base64') }
}

function isUsable(password: string): boolean {
  return password.length > 0 && password.length <= MAX_CHARACTERS && password.isWellFormed()
}

/** PHC strings use base64 without padding. */
function unpadded(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64').replaceAll('=', '')
}

import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'

/** `id` may stand in logs and lists; `hash` (hex SHA-256 of the whole token) is what the store keeps. */
export interface ApiTokenKey {
  id: string
  hash: string
}

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const ID_BYTES = 8
const SECRET_BYTES = 32
const CHECKSUM_CHARACTERS = 6
const SHAPE = /^spt_([0-9A-Za-z]{11})_[0-9A-Za-z]{49}$/

/** A new API token: `spt_`, an id of 11 characters, `_`, a secret of 256 bits and a checksum by which scanners tell a real one. */
export function createApiToken(random: (bytes: number) => Uint8Array): ApiTokenKey & { token: string } {
  const id = base62(random(ID_BYTES))
  const body = `spt_${id}_${base62(random(SECRET_BYTES))}`
  const token = body + checksum(body)
  return { id, token, hash: hashOf(token) }
}

/** Id and hash of a well-formed token, else undefined. A typing error is found by the checksum before anything is hashed or looked up. */
export function parseApiToken(text: string): ApiTokenKey | undefined {
  const [, id] = text.match(SHAPE) ?? []
  if (!id || checksum(text.slice(0, -CHECKSUM_CHARACTERS)) !== text.slice(-CHECKSUM_CHARACTERS)) return undefined
  return { id, hash: hashOf(text) }
}

function checksum(body: string): string {
  return digits(BigInt(crc32(body)), CHECKSUM_CHARACTERS)
}

function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('hex')
}

/** Fixed width, so that leading zeros keep their place. */
function base62(bytes: Uint8Array): string {
  return digits(BigInt(`0x${Buffer.from(bytes).toString('hex')}`), Math.ceil((bytes.length * 8) / Math.log2(62)))
}

function digits(value: bigint, width: number): string {
  let text = ''
  for (let rest = value; text.length < width; rest /= 62n) text = ALPHABET.charAt(Number(rest % 62n)) + text
  return text
}

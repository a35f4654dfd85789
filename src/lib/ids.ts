import { randomBytes } from 'node:crypto'
import { AppError } from './errors.ts'

export interface Ids {
  /** A UUID version 7 (RFC 9562, 5.7): sorts by time, and strictly by order of making within one source. */
  readonly uuidv7: () => string
  /** `bytes` (default 24) random bytes as base64url without padding: 24 make 32 characters. */
  readonly token: (bytes?: number) => string
}

const POOL_BYTES = 4096
const MAX_TOKEN_BYTES = 1024
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/**
 * A source of ids that asks for randomness in blocks.
 *
 * @param random returns as many random bytes as asked for, in memory of their own: they are erased as they are used
 * @param now milliseconds since 1970
 */
export function createIds(random: (size: number) => Uint8Array = randomBytes, now: () => number = Date.now): Ids {
  const draw = createPool(random)
  let lastMs = 0
  let counter = 0
  const renderTime = createTimeRenderer()

  /** RFC 9562, 6.2, method 1: a counter of 12 bits that starts in its lower half; full, it borrows from the next millisecond. */
  function advance(seed: number): void {
    const ms = Math.floor(now())
    if (ms > lastMs) {
      lastMs = ms
      counter = seed & 0x7ff
    } else if (counter < 0xfff) {
      counter++
    } else {
      lastMs++
      counter = seed & 0x7ff
    }
  }

  return {
    uuidv7: () =>
      draw(10, (bytes) => {
        advance(((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0))
        return `${renderTime(lastMs)}${renderRest(counter, bytes)}`
      }),
    token(bytes = 24) {
      if (!Number.isInteger(bytes) || bytes < 1 || bytes > MAX_TOKEN_BYTES) {
        throw new AppError('invalid_argument', `a token has 1 to ${MAX_TOKEN_BYTES} bytes`)
      }
      return draw(bytes, (drawn) => Buffer.from(drawn.buffer, drawn.byteOffset, drawn.byteLength).toString('base64url'))
    },
  }
}

/** Many ids are made within one millisecond. */
function createTimeRenderer(): (ms: number) => string {
  let latest = -1
  let text = ''
  return (ms) => {
    if (ms === latest) return text
    latest = ms
    const hex = ms.toString(16).padStart(12, '0')
    text = `${hex.slice(0, 8)}-${hex.slice(8)}-`
    return text
  }
}

/** `random`: bytes 2 to 9 are used, the upper two bits of byte 2 give way to the variant. */
function renderRest(counter: number, random: Uint8Array): string {
  const hex = (i: number): string => HEX[random[i] ?? 0] ?? ''
  const version = `${HEX[0x70 | (counter >> 8)]}${HEX[counter & 0xff]}`
  const variant = HEX[((random[2] ?? 0) & 0x3f) | 0x80]
  return `${version}-${variant}${hex(3)}-${hex(4)}${hex(5)}${hex(6)}${hex(7)}${hex(8)}${hex(9)}`
}

/** Lends random bytes to `use` and erases them after, so that a memory dump shows no id handed out before. */
function createPool(random: (size: number) => Uint8Array): (size: number, use: (bytes: Uint8Array) => string) => string {
  let pool: Uint8Array = new Uint8Array(0)
  let used = 0
  return (size, use) => {
    if (used + size > pool.length) {
      pool = random(POOL_BYTES)
      used = 0
      if (pool.length !== POOL_BYTES) throw new AppError('internal', 'the source of randomness gave too little')
    }
    const bytes = pool.subarray(used, used + size)
    used += size
    const id = use(bytes)
    bytes.fill(0)
    return id
  }
}

import { AppError } from './errors.ts'

/** Bytes of one unfinished message, collected over many chunks. */
export interface ByteBuffer {
  readonly length: number
  /** Copies `bytes` to the end. Past the limit it empties itself and throws `resource_exhausted`. */
  append(bytes: Uint8Array): void
  /** The same for bytes that nobody will change. True when it keeps them as they are until all is taken; of few it makes a copy. */
  adopt(bytes: Buffer): boolean
  /** Hands out all bytes and is empty after. */
  take(): Buffer
}

const FIRST_CAPACITY = 4096
const LAST_CAPACITY = 1024 * 1024
/** Less is copied, since a piece may keep a larger buffer alive. */
const ADOPTED_BYTES = 16 * 1024

/**
 * Made of pieces, each as large as all before it up to `LAST_CAPACITY`: a message in many small chunks costs linear time and, until it is taken, at
 * most twice its size.
 *
 * @param maxBytes the most it may hold
 * @param what the thing collected, for the error message ("a line")
 */
export function createByteBuffer(maxBytes: number, what: string): ByteBuffer {
  const pieces: Buffer[] = []
  let storage = Buffer.alloc(0)
  /** Of the storage. */
  let used = 0
  let length = 0

  const clear = (): void => {
    pieces.length = 0
    storage = Buffer.alloc(0)
    used = 0
    length = 0
  }
  const grow = (bytes: number): void => {
    if (length + bytes > maxBytes) {
      clear()
      throw tooLarge(maxBytes, what)
    }
    length += bytes
  }
  const seal = (): void => {
    if (used > 0) pieces.push(storage.subarray(0, used))
    storage = storage.subarray(used)
    used = 0
  }
  return {
    get length() {
      return length
    },
    append(bytes) {
      const before = length
      grow(bytes.length)
      const fits = Math.min(bytes.length, storage.length - used)
      storage.set(fits === bytes.length ? bytes : bytes.subarray(0, fits), used)
      used += fits
      if (fits === bytes.length) return
      seal()
      const rest = bytes.subarray(fits)
      storage = Buffer.allocUnsafe(Math.max(rest.length, FIRST_CAPACITY, Math.min(before, maxBytes - before, LAST_CAPACITY)))
      storage.set(rest)
      used = rest.length
    },
    adopt(bytes) {
      const isKept = bytes.length >= ADOPTED_BYTES
      if (!isKept) this.append(bytes)
      else {
        grow(bytes.length)
        seal()
        pieces.push(bytes)
      }
      return isKept
    },
    take() {
      seal()
      const [only] = pieces
      const taken = pieces.length === 1 && only ? only : Buffer.concat(pieces, length)
      clear()
      return taken
    },
  }
}

/** The error for a message over its limit. */
export function tooLarge(maxBytes: number, what: string): AppError {
  return new AppError('resource_exhausted', `${what} is larger than the limit of ${maxBytes} bytes`, { details: { max_bytes: maxBytes } })
}

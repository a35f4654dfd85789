import { AppError } from './errors.ts'

/** Bytes of one unfinished message, collected over many chunks. */
export interface ByteBuffer {
  readonly length: number
  /** Copies `bytes` to the end. Past the limit it empties itself and throws `resource_exhausted`. */
  append(bytes: Uint8Array): void
  /** Hands out all bytes and is empty after. */
  take(): Buffer
}

const FIRST_CAPACITY = 4096

/**
 * A buffer that doubles as it grows, so that a message in many small chunks costs linear time and at most twice its size.
 *
 * @param maxBytes the most it may hold
 * @param what the thing collected, for the error message ("a line")
 */
export function createByteBuffer(maxBytes: number, what: string): ByteBuffer {
  let storage = Buffer.alloc(0)
  let length = 0
  return {
    get length() {
      return length
    },
    append(bytes) {
      const needed = length + bytes.length
      if (needed > maxBytes) {
        storage = Buffer.alloc(0)
        length = 0
        throw tooLarge(maxBytes, what)
      }
      if (needed > storage.length) {
        const larger = Buffer.allocUnsafe(Math.max(FIRST_CAPACITY, Math.min(2 * needed, maxBytes)))
        storage.copy(larger, 0, 0, length)
        storage = larger
      }
      storage.set(bytes, length)
      length = needed
    },
    take() {
      const taken = storage.subarray(0, length)
      storage = Buffer.alloc(0)
      length = 0
      return taken
    },
  }
}

/** The error for a message over its limit. */
export function tooLarge(maxBytes: number, what: string): AppError {
  return new AppError('resource_exhausted', `${what} is larger than the limit of ${maxBytes} bytes`, { details: { max_bytes: maxBytes } })
}

import { AppError } from '../../../lib/errors.ts'

/** One message of a PostgreSQL server (protocol 3.0, "Message Formats"). */
export interface Frame {
  /** The letter that says what it is, such as `D` for a row. */
  type: string
  /** Without type and length; undefined when it was larger than the reader takes, and then it was thrown away as it came. */
  body: Buffer | undefined
}

/** PostgreSQL itself makes no larger ones (`MaxAllocSize`). */
const MAX_FRAME_BYTES = 2 ** 30
const HEADER_BYTES = 5

/** Cuts bytes of a connection into messages; what is larger than `maxBytes` is never held in memory. */
export class FrameReader {
  /** The largest body that is kept. */
  maxBytes: number
  readonly #header = Buffer.alloc(HEADER_BYTES)
  #headerFill = 0
  #type = ''
  #left = 0
  #pieces: Buffer[] | undefined

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
  }

  /** Whether a message has begun and not ended. */
  get isWithin(): boolean {
    return this.#headerFill > 0
  }

  /** The messages that are complete with these bytes. @throws AppError unavailable (origin upstream) for what is no message. */
  push(chunk: Buffer): Frame[] {
    const frames: Frame[] = []
    for (let at = 0; at < chunk.length;) {
      if (this.#headerFill < HEADER_BYTES) {
        const taken = chunk.copy(this.#header, this.#headerFill, at, Math.min(chunk.length, at + HEADER_BYTES - this.#headerFill))
        this.#headerFill += taken
        at += taken
        if (this.#headerFill < HEADER_BYTES) break
        this.#begin()
      }
      const taken = Math.min(this.#left, chunk.length - at)
      if (taken > 0) this.#pieces?.push(chunk.subarray(at, at + taken))
      this.#left -= taken
      at += taken
      if (this.#left > 0) break
      frames.push({ type: this.#type, body: this.#pieces && (this.#pieces.length === 1 ? this.#pieces[0] : Buffer.concat(this.#pieces)) })
      this.#headerFill = 0
    }
    return frames
  }

  #begin(): void {
    this.#type = String.fromCharCode(this.#header.readUInt8(0))
    const length = this.#header.readUInt32BE(1)
    if (length < 4 || length > MAX_FRAME_BYTES || !/[A-Za-z0-9]/.test(this.#type)) throw notPostgres()
    this.#left = length - 4
    this.#pieces = this.#left <= this.maxBytes ? [] : undefined
  }
}

/** One message to the server. */
export function frame(type: string, ...parts: readonly Buffer[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 4)
  return Buffer.concat([Buffer.from(type, 'latin1'), int32(length), ...parts])
}

/** A message without a type: the first of a connection. */
export function untypedFrame(...parts: readonly Buffer[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 4)
  return Buffer.concat([int32(length), ...parts])
}

/** Text with its final NUL. @throws AppError invalid_argument for a text that holds one. */
export function cString(text: string): Buffer {
  if (text.includes('\0')) throw new AppError('invalid_argument', 'a database takes no text with NUL characters')
  return Buffer.from(`${text}\0`, 'utf8')
}

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

export function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeInt16BE(value)
  return bytes
}

/** The texts of a message that is nothing but NUL-terminated texts. */
export function readTexts(body: Buffer): string[] {
  return body.toString('utf8').split('\0').slice(0, -1)
}

export function notPostgres(cause?: unknown): AppError {
  return new AppError('unavailable', 'the database server does not speak the PostgreSQL protocol', { origin: 'upstream', cause })
}

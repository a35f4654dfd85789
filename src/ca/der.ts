import { AppError } from '../lib/errors.ts'

/** One SEQUENCE of encoded parts. All functions here return DER (X.690) and have no side effects. */
export function sequence(...parts: Uint8Array[]): Buffer {
  return element(0x30, Buffer.concat(parts))
}

/** SET OF: the parts are sorted by their encoding, as X.690 11.6 demands. */
export function set(...parts: Uint8Array[]): Buffer {
  return element(0x31, Buffer.concat(parts.toSorted((a, b) => Buffer.compare(a, b))))
}

/** A non-negative INTEGER, from a number or from big-endian bytes of any length. */
export function integer(value: number | Uint8Array): Buffer {
  const bytes = typeof value === 'number' ? numberBytes(value) : Buffer.from(value)
  let start = 0
  while (start < bytes.length - 1 && bytes[start] === 0) start++
  const minimal = bytes.subarray(start)
  if (minimal.length === 0) return element(0x02, Buffer.of(0))
  const negativeLooking = ((minimal[0] ?? 0) & 0x80) !== 0
  return element(0x02, negativeLooking ? Buffer.concat([Buffer.of(0), minimal]) : minimal)
}

/** OBJECT IDENTIFIER from its dotted text. */
export function objectId(dotted: string): Buffer {
  const [first, second, ...rest] = dotted.split('.').map(Number)
  if (first === undefined || second === undefined || ![first, second, ...rest].every((arc) => Number.isSafeInteger(arc) && arc >= 0))
    throw new AppError('internal', `"${dotted}" is not an object identifier`)
  return element(0x06, Buffer.concat([first * 40 + second, ...rest].map(base128)))
}

export function utf8String(text: string): Buffer {
  return element(0x0c, Buffer.from(text, 'utf8'))
}

/** PrintableString; text outside its small alphabet (X.680 41.4) throws `internal`. */
export function printableString(text: string): Buffer {
  if (!/^[A-Za-z0-9 '()+,\-./:=?]*$/.test(text)) throw new AppError('internal', `"${text}" does not fit a PrintableString`)
  return element(0x13, Buffer.from(text, 'latin1'))
}

export function bitString(bytes: Uint8Array): Buffer {
  return element(0x03, Buffer.concat([Buffer.of(0), bytes]))
}

/** A BIT STRING of named bits (bit 0 is the most significant), at most 16; trailing zero bits are cut (X.690 11.2.2). */
export function namedBits(...bits: number[]): Buffer {
  if (!bits.every((bit) => Number.isInteger(bit) && bit >= 0 && bit < 16)) throw new AppError('internal', 'a named bit is out of range')
  const highest = Math.max(-1, ...bits)
  const bytes = Buffer.alloc(Math.floor(highest / 8) + 1)
  for (const bit of bits) bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | (0x80 >> (bit & 7))
  const unused = highest < 0 ? 0 : 7 - (highest & 7)
  return element(0x03, Buffer.concat([Buffer.of(unused), bytes]))
}

export function octetString(bytes: Uint8Array): Buffer {
  return element(0x04, bytes)
}

export function boolean(value: boolean): Buffer {
  return element(0x01, Buffer.of(value ? 0xff : 0))
}

/** A moment in ms since 1970, cut to whole seconds: UTCTime through 2049, GeneralizedTime from 2050 (RFC 5280 4.1.2.5). */
export function time(ms: number): Buffer {
  const year = new Date(ms).getUTCFullYear()
  if (!(year >= 1950 && year <= 9999)) throw new AppError('invalid_argument', 'a certificate time must lie between 1950 and 9999')
  const digits = new Date(ms).toISOString().slice(0, 19).replaceAll(/[-T:]/g, '')
  return year < 2050 ? element(0x17, Buffer.from(`${digits.slice(2)}Z`)) : element(0x18, Buffer.from(`${digits}Z`))
}

/** `[tag] EXPLICIT`: wraps whole elements. */
export function explicit(tag: number, content: Uint8Array): Buffer {
  return element(0xa0 | tag, content)
}

/** `[tag] IMPLICIT` of a primitive type: replaces the tag around the bare content bytes. */
export function implicit(tag: number, content: Uint8Array): Buffer {
  return element(0x80 | tag, content)
}

/** The elements inside a constructed value, each with its header. DER cut short or of indefinite length throws `invalid_argument`. */
export function elementsOf(der: Uint8Array): Buffer[] {
  const content = contentOf(der)
  const parts: Buffer[] = []
  for (let at = 0; at < content.length;) {
    const { start, end } = boundsAt(content, at)
    if (end > content.length || start > end) throw new AppError('invalid_argument', 'DER element is cut short')
    parts.push(content.subarray(at, end))
    at = end
  }
  return parts
}

/** The content bytes of the first element of `der`. */
export function contentOf(der: Uint8Array): Buffer {
  const bytes = Buffer.from(der.buffer, der.byteOffset, der.byteLength)
  const { start, end } = boundsAt(bytes, 0)
  if (end > bytes.length) throw new AppError('invalid_argument', 'DER element is cut short')
  return bytes.subarray(start, end)
}

function element(tag: number, content: Uint8Array): Buffer {
  return Buffer.concat([Buffer.of(tag), lengthBytes(content.length), content])
}

function lengthBytes(length: number): Buffer {
  if (length < 0x80) return Buffer.of(length)
  const bytes = numberBytes(length)
  return Buffer.concat([Buffer.of(0x80 | bytes.length), bytes])
}

function numberBytes(value: number): Buffer {
  if (!Number.isSafeInteger(value) || value < 0) throw new AppError('internal', `${value} is not a non-negative integer`)
  const hex = value.toString(16)
  return Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex')
}

function base128(arc: number): Buffer {
  const bytes = [arc % 128]
  for (let rest = Math.floor(arc / 128); rest > 0; rest = Math.floor(rest / 128)) bytes.unshift((rest % 128) | 0x80)
  return Buffer.from(bytes)
}

function boundsAt(bytes: Buffer, at: number): { start: number; end: number } {
  const first = bytes[at + 1]
  if (first === undefined) throw new AppError('invalid_argument', 'DER element is cut short')
  if (first < 0x80) return { start: at + 2, end: at + 2 + first }
  const size = first & 0x7f
  if (size === 0 || size > 4 || at + 2 + size > bytes.length) throw new AppError('invalid_argument', 'DER length is not understood')
  const start = at + 2 + size
  return { start, end: start + bytes.readUIntBE(at + 2, size) }
}

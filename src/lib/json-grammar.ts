import { AppError } from './errors.ts'

/** Where a scan stands in the text. `scanMessage` proves the text to be UTF-8 before one is made. */
export interface Cursor {
  readonly bytes: Buffer
  at: number
  depth: number
  readonly maxDepth: number
  readonly maxKeys: number
  /** Stack of start, end of the raw keys of the open objects; `top` is its length in use. */
  readonly keys: number[]
  top: number
}

/** Passes the value of one member, the cursor standing on it; the key lies at `keyStart` to `keyEnd`, inside its quotes. */
export type MemberScan = (c: Cursor, keyStart: number, keyEnd: number, escaped: boolean) => void
/** Passes one element of an array, the cursor standing on it. */
export type ElementScan = (c: Cursor) => void

export const QUOTE = 0x22
export const OPEN_BRACKET = 0x5b
export const OPEN_BRACE = 0x7b
const COMMA = 0x2c
const MINUS = 0x2d
const ZERO = 0x30
const COLON = 0x3a
const BACKSLASH = 0x5c
const CLOSE_BRACKET = 0x5d
const CLOSE_BRACE = 0x7d
const LOWER_U = 0x75

/** Bytes that need a look inside a string: the quote, the backslash and controls. */
const SPECIAL = Uint8Array.from({ length: 256 }, (_, byte) => (byte < 0x20 || byte === QUOTE || byte === BACKSLASH ? 1 : 0))
const SIMPLE_ESCAPE = Uint8Array.from({ length: 256 }, (_, byte) => ('"\\/bfnrt'.includes(String.fromCharCode(byte)) ? 1 : 0))
const HEX = Uint8Array.from({ length: 256 }, (_, byte) => (/[\da-fA-F]/.test(String.fromCharCode(byte)) ? 1 : 0))
const LITERALS = new Map([true, false, null].map((word) => [String(word).charCodeAt(0), Buffer.from(String(word))]))
/** Keys of an object compared byte by byte before a set takes over. */
const KEYS_WITHOUT_SET = 8

/** Passes one JSON value (RFC 8259), the cursor standing on its first byte. Throws like `scanMessage`. */
export function scanValue(c: Cursor): void {
  const byte = c.bytes[c.at]
  if (byte === QUOTE) scanString(c)
  else if (byte === OPEN_BRACE) scanObject(c)
  else if (byte === OPEN_BRACKET) scanArray(c)
  else if (byte === MINUS || isDigit(byte)) scanNumber(c)
  else scanLiteral(c)
}

/** Passes an object whose members `member` passes; without it any value will do. Its keys must be unique. */
export function scanObject(c: Cursor, member?: MemberScan): void {
  enter(c)
  const base = c.top
  let seen: Set<string> | undefined
  let byte = skipSpace(c)
  for (let count = 1; byte !== CLOSE_BRACE || count > 1; count++) {
    if (byte !== QUOTE) throw notJson(c.at, 'expected a key in double quotes')
    const start = c.at + 1
    const escaped = scanString(c)
    const end = c.at - 1
    if (count > c.maxKeys) throw ambiguous(start - 1, `an object has more than ${c.maxKeys} members`)
    seen = addKey(c, base, start, end, escaped, seen)
    if (skipSpace(c) !== COLON) throw notJson(c.at, 'expected a colon')
    c.at++
    skipSpace(c)
    if (member === undefined) scanValue(c)
    else member(c, start, end, escaped)
    byte = skipSpace(c)
    if (byte === CLOSE_BRACE) break
    if (byte !== COMMA) throw notJson(c.at, 'expected a comma or a closing brace')
    c.at++
    byte = skipSpace(c)
  }
  c.at++
  c.depth--
  c.top = base
}

/** Refuses a key its object already has. Few plain keys are compared as bytes; many, or escaped ones, by their unescaped text in a set. */
function addKey(c: Cursor, base: number, start: number, end: number, escaped: boolean, seen?: Set<string>): Set<string> | undefined {
  if (seen === undefined && !escaped && c.top - base < 2 * KEYS_WITHOUT_SET) {
    for (let i = base; i < c.top; i += 2) {
      if (isSameRange(c.bytes, c.keys[i] ?? 0, c.keys[i + 1] ?? 0, start, end)) throw duplicate(c, start, end, escaped)
    }
    c.keys[c.top++] = start
    c.keys[c.top++] = end
    return undefined
  }
  const names = seen ?? new Set<string>()
  if (seen === undefined) for (let i = base; i < c.top; i += 2) names.add(setEntry(c, c.keys[i] ?? 0, c.keys[i + 1] ?? 0, false))
  const entry = setEntry(c, start, end, escaped)
  if (names.has(entry)) throw duplicate(c, start, end, escaped)
  return names.add(entry)
}

/** The leading quote keeps keys like "123" from being hashed by their value, which a sender could choose so that all of them collide. */
function setEntry(c: Cursor, start: number, end: number, escaped: boolean): string {
  return escaped ? `"${unescape(c.bytes, start, end, true)}` : c.bytes.toString('utf8', start - 1, end)
}

/** Passes an array whose elements `element` passes; without it any value will do. */
export function scanArray(c: Cursor, element: ElementScan = scanValue): void {
  enter(c)
  let byte = skipSpace(c)
  for (let first = true; byte !== CLOSE_BRACKET || !first; first = false) {
    element(c)
    byte = skipSpace(c)
    if (byte === CLOSE_BRACKET) break
    if (byte !== COMMA) throw notJson(c.at, 'expected a comma or a closing bracket')
    c.at++
    byte = skipSpace(c)
  }
  c.at++
  c.depth--
}

function enter(c: Cursor): void {
  if (++c.depth > c.maxDepth) throw ambiguous(c.at, `nested deeper than ${c.maxDepth} levels`)
  c.at++
}

/** Passes a string, the cursor on its opening quote; returns whether it has an escape. */
function scanString(c: Cursor): boolean {
  const { bytes } = c
  const size = bytes.length
  let at = c.at + 1
  let escaped = false
  for (;;) {
    while (at < size && SPECIAL[bytes[at] ?? 0] === 0) at++
    if (at >= size) throw notJson(c.at, 'a string does not end')
    const byte = bytes[at]
    if (byte === QUOTE) break
    if (byte !== BACKSLASH) throw notJson(at, 'a control character in a string must be escaped')
    escaped = true
    at = skipEscape(bytes, at)
  }
  c.at = at + 1
  return escaped
}

function skipEscape(bytes: Buffer, at: number): number {
  const letter = bytes[at + 1]
  if (letter !== undefined && SIMPLE_ESCAPE[letter] === 1) return at + 2
  if (letter !== LOWER_U) throw notJson(at, 'unknown escape in a string')
  for (let i = at + 2; i < at + 6; i++) {
    const digit = bytes[i]
    if (digit === undefined || HEX[digit] !== 1) throw notJson(at, 'expected four hexadecimal digits after \\u')
  }
  return at + 6
}

function scanNumber(c: Cursor): void {
  const { bytes } = c
  let at = c.at
  if (bytes[at] === MINUS) at++
  at = bytes[at] === ZERO ? at + 1 : skipDigits(bytes, at)
  if (bytes[at] === 0x2e) at = skipDigits(bytes, at + 1)
  if (bytes[at] === 0x65 || bytes[at] === 0x45) {
    at++
    if (bytes[at] === 0x2b || bytes[at] === MINUS) at++
    at = skipDigits(bytes, at)
  }
  c.at = at
}

function skipDigits(bytes: Buffer, start: number): number {
  let at = start
  while (isDigit(bytes[at])) at++
  if (at === start) throw notJson(at, 'expected a digit')
  return at
}

function scanLiteral(c: Cursor): void {
  const word = LITERALS.get(c.bytes[c.at] ?? 0)
  if (word === undefined || word.compare(c.bytes, c.at, Math.min(c.at + word.length, c.bytes.length)) !== 0) {
    throw notJson(c.at, c.at < c.bytes.length ? 'expected a value' : 'the text ends where a value must follow')
  }
  c.at += word.length
}

/** Moves past white space and returns the byte there, -1 at the end. */
export function skipSpace(c: Cursor): number {
  const { bytes } = c
  let at = c.at
  let byte = bytes[at] ?? -1
  while (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = bytes[++at] ?? -1
  c.at = at
  return byte
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= ZERO && byte <= 0x39
}

function isSameRange(bytes: Buffer, aStart: number, aEnd: number, bStart: number, bEnd: number): boolean {
  if (aEnd - aStart !== bEnd - bStart) return false
  for (let a = aStart, b = bStart; a < aEnd; a++, b++) if (bytes[a] !== bytes[b]) return false
  return true
}

/** The text of a key or string between its quotes at `start` and `end`. */
export function unescape(bytes: Buffer, start: number, end: number, escaped: boolean): string {
  return escaped ? String(JSON.parse(bytes.toString('utf8', start - 1, end + 1))) : bytes.toString('utf8', start, end)
}

function duplicate(c: Cursor, start: number, end: number, escaped: boolean): AppError {
  return ambiguous(start - 1, `the key ${shown(unescape(c.bytes, start, end, escaped))} appears twice in one object`)
}

/** A key as it may stand in a message: quoted, escaped, cut. */
export function shown(name: string): string {
  return JSON.stringify(name.length > 64 ? `${name.slice(0, 64)}…` : name)
}

/** The text is not JSON: JSON-RPC parse error. */
export function notJson(offset: number, what: string): AppError {
  return new AppError('invalid_argument', `not valid JSON at byte ${offset}: ${what}`, { details: { rpc: -32700, offset } })
}

/** The text is JSON that must not be acted on: JSON-RPC invalid request. */
export function ambiguous(offset: number, what: string): AppError {
  return new AppError('invalid_argument', `not an acceptable message at byte ${offset}: ${what}`, { details: { rpc: -32600, offset } })
}

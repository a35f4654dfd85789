import { isUtf8 } from 'node:buffer'
import { AppError } from './errors.ts'
import { markInexact, restoreInexact } from './exact-numbers.ts'
import {
  OPEN_BRACE,
  OPEN_BRACKET,
  QUOTE,
  ambiguous,
  notJson,
  scanArray,
  scanObject,
  scanValue,
  shown,
  skipSpace,
  unescape,
} from './json-grammar.ts'
import type { Cursor, MemberScan } from './json-grammar.ts'
import { findKnownName, type KnownNames, MESSAGE_NAMES, PARAMS_NAMES, withPlainKeys } from './message-names.ts'

/** A range of bytes of the scanned message, `end` exclusive, without surrounding white space. */
export interface Span {
  readonly start: number
  readonly end: number
}

/** One JSON-RPC message. Spans count from the first byte handed to `scanMessage`. */
export interface ScannedObject {
  readonly kind: 'object'
  /** The members present out of jsonrpc, id, method, params, result, error. */
  readonly members: ReadonlyMap<string, Span>
  /** Whether the top level has any other member. */
  readonly other: boolean
  /** The exact JSON text of `id` (`7`, `"a"`, `1.0`), undefined when absent. */
  readonly id: string | undefined
  /** `method` unescaped; undefined when it is absent or not a string (`members` tells which). */
  readonly method: string | undefined
  /** Whether `params` is an object; false too when it is absent. */
  readonly paramsIsObject: boolean
  /** Every member of an object-valued `params` by its unescaped name, else empty. */
  readonly paramsMembers: ReadonlyMap<string, Span>
}

/** A batch. Only its syntax and keys were judged: scan each element's own bytes before using it. */
export interface ScannedArray {
  readonly kind: 'array'
  readonly elements: readonly Span[]
}

export type ScannedMessage = ScannedObject | ScannedArray

export interface ScanLimits {
  /** Nested objects and arrays, the outermost counted as 1; at most 512. Default 64. */
  readonly maxDepth?: number
  /** Members of one object, or messages of one batch. Default 10 000. */
  readonly maxKeys?: number
}

/**
 * Proves that `bytes` are one unambiguous JSON text (RFC 8259, UTF-8, no byte order mark) and finds the parts a gateway needs, without
 * building the value. Two readers that disagree about duplicate keys or the case of keys could take such a message for different calls,
 * so a duplicate key in any object, and a key that differs only in case from one JSON-RPC or MCP gives a meaning, are refused.
 * Lone surrogate escapes and unknown members pass.
 *
 * @throws AppError invalid_argument, details `{rpc, offset}`: rpc -32700 for what is not JSON, -32600 for JSON that is ambiguous, over a
 * limit, or neither object nor array; `offset` in bytes.
 */
export function scanMessage(bytes: Uint8Array, limits: ScanLimits = {}): ScannedMessage {
  const buffer = asBuffer(bytes)
  if (!isUtf8(buffer)) throw notJson(findInvalidUtf8(buffer), 'the text is not valid UTF-8')
  const { maxDepth = 64, maxKeys = 10_000 } = limits
  const cursor: Cursor = { bytes: buffer, at: 0, depth: 0, maxDepth: Math.min(maxDepth, 512), maxKeys, keys: [], top: 0 }
  const first = skipSpace(cursor)
  if (first === OPEN_BRACE) return scanTopObject(cursor)
  if (first === OPEN_BRACKET) return scanBatch(cursor)
  if (first === BOM) throw notJson(cursor.at, 'a byte order mark is not allowed')
  const start = cursor.at
  scanValue(cursor)
  scanEnd(cursor)
  throw ambiguous(start, 'a message is an object, or an array of objects')
}

/** The source text at a span. */
export function textAt(bytes: Uint8Array, span: Span): string {
  return asBuffer(bytes).toString('utf8', span.start, span.end)
}

/** The place of a member of the object at a span of a scanned message; undefined when it has none or another kind of value stands there. */
export function findMember(bytes: Uint8Array, object: Span, name: string): Span | undefined {
  if (bytes[object.start] !== OPEN_BRACE) return undefined
  const buffer = asBuffer(bytes)
  const cursor: Cursor = { bytes: buffer, at: object.start, depth: 0, maxDepth: 512, maxKeys: Number.MAX_SAFE_INTEGER, keys: [], top: 0 }
  let found: Span | undefined
  scanObject(cursor, (c, keyStart, keyEnd, escaped) => {
    const start = c.at
    scanValue(c)
    if (unescape(buffer, keyStart, keyEnd, escaped) === name) found = { start, end: c.at }
  })
  return found
}

/** The unescaped string at a span of a scanned message, or undefined when another kind of value stands there. */
export function stringAt(bytes: Uint8Array, span: Span): string | undefined {
  if (bytes[span.start] !== QUOTE) return undefined
  const buffer = asBuffer(bytes)
  return unescape(buffer, span.start + 1, span.end - 1, buffer.subarray(span.start, span.end).includes('\\'))
}

/**
 * Parses JSON so that `renderExact` writes every number as it stood (`1.0`, `1e3`, 20 digits): one that JavaScript would print
 * otherwise becomes a raw JSON object (`JSON.isRawJSON`). A `__proto__` member stays an own property. Takes linear time.
 *
 * @throws AppError invalid_argument, details `{rpc}`: -32700 for what is not JSON, -32600 for more than 100 000 such numbers, or a key that
 * cannot be read reliably (`hasUnreliableKey`).
 */
export function parseExact(text: string): unknown {
  try {
    const plain = withPlainKeys(text)
    if (plain === undefined) throw ambiguous(0, 'a key that is one control character, quote or half of a surrogate pair cannot be read')
    const marked = markInexact(plain)
    return marked ? restoreInexact(JSON.parse(marked.text), marked.numbers) : JSON.parse(plain)
  } catch (cause) {
    if (cause instanceof AppError) throw cause
    throw new AppError('invalid_argument', 'not valid JSON', { details: { rpc: -32700 }, cause })
  }
}

/**
 * The compact JSON text of what `parseExact` returned, whole or in part.
 * @throws AppError invalid_argument for a value nested some thousand levels deep, internal for one that has no JSON form.
 */
export function renderExact(value: unknown): string {
  const text = stringify(value)
  if (text === undefined) throw new AppError('internal', 'this value has no JSON form')
  return text
}

function stringify(value: unknown): string | undefined {
  try {
    return JSON.stringify(value)
  } catch (cause) {
    if (cause instanceof RangeError) throw new AppError('invalid_argument', 'nested too deeply to be written again', { cause })
    throw cause
  }
}

/**
 * The message on one line, as the MCP stdio transport needs it: raw line ends, in valid JSON only white space, become spaces.
 * The same object when none is there.
 */
export function oneLine(bytes: Uint8Array): Uint8Array {
  if (!bytes.includes(LINE_FEED) && !bytes.includes(CARRIAGE_RETURN)) return bytes
  return Uint8Array.from(bytes, (byte) => (byte === LINE_FEED || byte === CARRIAGE_RETURN ? 0x20 : byte))
}

interface Kept {
  readonly names: KnownNames
  readonly keepAll: boolean
  readonly spans: Map<string, Span>
  other: boolean
}

const BOM = 0xef
const LINE_FEED = 0x0a
const CARRIAGE_RETURN = 0x0d

function scanTopObject(c: Cursor): ScannedObject {
  const top: Kept = { names: MESSAGE_NAMES, keepAll: false, spans: new Map(), other: false }
  const params: Kept = { names: PARAMS_NAMES, keepAll: true, spans: new Map(), other: false }
  let paramsIsObject = false
  const scanParamsMember: MemberScan = (_, start, end, escaped) => {
    keepMember(c, params, nameAt(c, PARAMS_NAMES, start, end, escaped), start)
  }
  scanObject(c, (_, start, end, escaped) => {
    const name = nameAt(c, MESSAGE_NAMES, start, end, escaped)
    const isParamsObject = name === 'params' && c.bytes[c.at] === OPEN_BRACE
    paramsIsObject ||= isParamsObject
    keepMember(c, top, name, start, isParamsObject ? scanParamsMember : undefined)
  })
  scanEnd(c)
  const id = top.spans.get('id')
  const method = top.spans.get('method')
  return {
    kind: 'object',
    members: top.spans,
    other: top.other,
    id: id && textAt(c.bytes, id),
    method: method && stringAt(c.bytes, method),
    paramsIsObject,
    paramsMembers: params.spans,
  }
}

/** Passes the value of one member whose name may have a meaning, as an object of `inner` members when given. */
function keepMember(c: Cursor, kept: Kept, name: string, keyStart: number, inner?: MemberScan): void {
  const known = findKnownName(kept.names, name)
  if (known === undefined) kept.other = true
  else if (known !== name) throw ambiguous(keyStart - 1, `the key ${shown(name)} differs only in case from "${known}"`)
  const start = c.at
  if (inner === undefined) scanValue(c)
  else scanObject(c, inner)
  if (kept.keepAll || known !== undefined) kept.spans.set(name, { start, end: c.at })
}

function scanBatch(c: Cursor): ScannedArray {
  const elements: Span[] = []
  scanArray(c, () => {
    const start = c.at
    if (elements.length >= c.maxKeys) throw ambiguous(start, `a batch has more than ${c.maxKeys} messages`)
    scanValue(c)
    elements.push({ start, end: c.at })
  })
  scanEnd(c)
  return { kind: 'array', elements }
}

function scanEnd(c: Cursor): void {
  if (skipSpace(c) !== -1) throw notJson(c.at, 'unexpected text after the message')
}

function nameAt(c: Cursor, names: KnownNames, start: number, end: number, escaped: boolean): string {
  const known = escaped ? undefined : names.byLength[end - start]?.find(({ bytes }) => isSameText(bytes, c.bytes, start))
  return known === undefined ? unescape(c.bytes, start, end, escaped) : known.name
}

function isSameText(name: Buffer, bytes: Buffer, start: number): boolean {
  for (let i = 0; i < name.length; i++) if (name[i] !== bytes[start + i]) return false
  return true
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** Decoding replaces what is invalid, so the first byte that does not survive a round trip is at fault. */
function findInvalidUtf8(bytes: Buffer): number {
  const replaced = Buffer.from(bytes.toString('utf8'))
  let at = 0
  while (at < bytes.length && bytes[at] === replaced[at]) at++
  return at
}

declare global {
  interface JSON {
    rawJSON(text: string): object
    isRawJSON(value: unknown): boolean
  }
}

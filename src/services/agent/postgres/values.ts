import { isUtf8 } from 'node:buffer'

const BOOL = 16
const BYTEA = 17
const INTEGERS = new Set([21, 23, 26])
const INT8 = 20
const FLOATS = new Set([700, 701])
const JSONS = new Set([114, 3802])
const INTEGER = /^-?\d{1,20}$/
const DECIMAL = /^-?\d+(?:\.\d+)?(?:e[+-]?\d+)?$/

/** Type of an array → type of its elements (pg_type.dat). Other arrays stay the text that the database writes. */
const ELEMENTS: ReadonlyMap<number, number> = new Map([
  [1000, BOOL],
  [1001, BYTEA],
  [1005, 21],
  [1007, 23],
  [1016, INT8],
  [1021, 700],
  [1022, 701],
  [1028, 26],
  [199, 114],
  [3807, 3802],
  // Types whose elements are texts here: name, text, bpchar, varchar, date, time, timestamp, timestamptz, interval, numeric, uuid, inet, cidr.
  ...[1003, 1009, 1014, 1015, 1182, 1183, 1115, 1185, 1187, 1231, 2951, 1041, 651].map((type): [number, number] => [type, 25]),
])

/**
 * A value as JSON text, without loss: numbers only where every reader of JSON keeps them exactly, else the text that PostgreSQL writes
 * (`numeric`, large `int8`, times, `bytea` as `\x…`). `json` goes in as it is. What is not UTF-8 is written as `bytea` is.
 * @param type OID of the type, as the row description says.
 * @param bytes the value in text format; null for NULL.
 */
export function renderValue(type: number, bytes: Buffer | null): string {
  if (bytes === null) return 'null'
  if (!isUtf8(bytes)) return JSON.stringify(`\\x${bytes.toString('hex')}`)
  const text = bytes.toString('utf8')
  const element = ELEMENTS.get(type)
  return (element !== undefined && renderArray(element, text)) || renderText(type, text)
}

function renderText(type: number, text: string): string {
  if (type === BOOL && (text === 't' || text === 'f')) return text === 't' ? 'true' : 'false'
  if (INTEGERS.has(type) && INTEGER.test(text)) return String(Number(text))
  if (type === INT8 && INTEGER.test(text) && Number.isSafeInteger(Number(text))) return String(Number(text))
  if (FLOATS.has(type) && DECIMAL.test(text)) return renderFloat(text)
  return JSONS.has(type) && isJson(text) ? text : JSON.stringify(text)
}

/** The shortest text that gives the number back is what PostgreSQL writes; a zero keeps its sign as a text only. */
function renderFloat(text: string): string {
  const value = Number(text)
  return Number.isFinite(value) && !Object.is(value, -0) ? String(value) : JSON.stringify(text)
}

/** The database says that it is JSON; what it sends could say otherwise. */
function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** Deeper ones do not exist (MAXDIM of PostgreSQL). */
const MAX_DIMENSIONS = 6
const PLAIN_ELEMENT = /[^{}",\\]+/y
const QUOTED_ELEMENT = /"((?:[^"\\]|\\[\s\S])*)"/y

interface Cursor {
  text: string
  at: number
}

/** `{1,NULL,"a b"}` as a JSON array; undefined for one with bounds of its own (`[0:1]={…}`) and for what cannot be read. */
function renderArray(element: number, text: string): string | undefined {
  const cursor = { text, at: 0 }
  const rendered = readArray(cursor, element, 1)
  return cursor.at === text.length ? rendered : undefined
}

function readArray(cursor: Cursor, element: number, depth: number): string | undefined {
  if (cursor.text[cursor.at] !== '{' || depth > MAX_DIMENSIONS) return undefined
  cursor.at += 1
  if (cursor.text[cursor.at] === '}') {
    cursor.at += 1
    return '[]'
  }
  const items: string[] = []
  for (;;) {
    const item = cursor.text[cursor.at] === '{' ? readArray(cursor, element, depth + 1) : readElement(cursor, element)
    if (item === undefined) return undefined
    items.push(item)
    const sign = cursor.text[cursor.at]
    cursor.at += 1
    if (sign === '}') return `[${items.join(',')}]`
    if (sign !== ',') return undefined
  }
}

function readElement(cursor: Cursor, element: number): string | undefined {
  for (const pattern of [QUOTED_ELEMENT, PLAIN_ELEMENT]) {
    pattern.lastIndex = cursor.at
    const found = pattern.exec(cursor.text)
    if (!found) continue
    cursor.at += found[0].length
    if (pattern === QUOTED_ELEMENT) return renderText(element, (found[1] ?? '').replace(/\\([\s\S])/g, '$1'))
    return found[0] === 'NULL' ? 'null' : renderText(element, found[0])
  }
  return undefined
}

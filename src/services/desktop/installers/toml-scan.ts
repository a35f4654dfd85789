import { AppError } from '../../../lib/errors.ts'

/** A header, or a key with its value, of a TOML 1.0 text. */
export interface TomlStatement {
  kind: 'table' | 'array of tables' | 'value'
  /** As it is written there: without that of the table it stands in. */
  path: string[]
  /** That of the table it stands in, or begins. */
  table: string[]
  start: number
  /** Behind it, before a comment. */
  end: number
  /** Of a value: where its own text begins. */
  valueStart: number
  /** Strings, booleans, arrays and inline tables as they are read; anything else as a `TomlLiteral`. */
  value: unknown
}

/** A number or a time, which nobody here has to understand. */
export interface TomlLiteral {
  literal: string
}

const MAX_DEPTH = 50
const BLANK = /[ \t]*/y
const BLANK_LINES = /(?:[ \t\r\n]|#[^\n]*)*/y
const LINE_END = /[ \t]*(?:#[^\n]*)?(?:\r?\n|$)/y
const BARE_KEY = /[A-Za-z0-9_-]+/y
const MULTI_BASIC = /"""(?:[^"\\]|\\[^]|"(?!"")|""(?!"))*"{3,5}/y
const MULTI_LITERAL = /'''(?:[^']|'(?!'')|''(?!'))*'{3,5}/y
const BASIC = /"(?:[^"\\\u0000-\u0008\u000a-\u001f\u007f]|\\.)*"/y
const LITERAL = /'[^'\u0000-\u0008\u000a-\u001f\u007f]*'/y
const SCALAR = /true|false|[+-]?(?:inf|nan|\d[\w.+:-]*(?: \d\d:[\d:.]+(?:Z|[+-][\d:]+)?)?)/y
const ESCAPES: Readonly<Record<string, string>> = { b: '\b', t: '\t', n: '\n', f: '\f', r: '\r', '"': '"', '\\': '\\' }

/** The statements in order. What is no TOML, or none that is known here, throws `invalid_argument` with line and column. */
export function scanToml(text: string): TomlStatement[] {
  const scanner = { text, at: 0 }
  const statements: TomlStatement[] = []
  let table: string[] = []
  for (take(scanner, BLANK_LINES); scanner.at < text.length; take(scanner, BLANK_LINES)) {
    const statement = text[scanner.at] === '[' ? readHeader(scanner) : readValueOf(scanner, table)
    table = statement.table
    statements.push(statement)
    if (take(scanner, LINE_END) === undefined) throw fault(scanner, 'unexpected text behind it')
  }
  return statements
}

interface Scanner {
  text: string
  at: number
}

function readHeader(scanner: Scanner): TomlStatement {
  const start = scanner.at
  const isArray = scanner.text.startsWith('[[', start)
  scanner.at += isArray ? 2 : 1
  const path = readPath(scanner)
  const closing = isArray ? ']]' : ']'
  if (!scanner.text.startsWith(closing, scanner.at)) throw fault(scanner, `expected ${closing}`)
  scanner.at += closing.length
  return {
    kind: isArray ? 'array of tables' : 'table',
    path,
    table: path,
    start,
    end: scanner.at,
    valueStart: scanner.at,
    value: undefined,
  }
}

function readValueOf(scanner: Scanner, table: string[]): TomlStatement {
  const start = scanner.at
  const path = readAssigned(scanner)
  const valueStart = scanner.at
  const value = readValue(scanner, 1)
  return { kind: 'value', path, table, start, end: scanner.at, valueStart, value }
}

/** A key up to behind its equals sign. */
function readAssigned(scanner: Scanner): string[] {
  const path = readPath(scanner)
  if (scanner.text[scanner.at] !== '=') throw fault(scanner, 'expected =')
  scanner.at++
  take(scanner, BLANK)
  return path
}

function readPath(scanner: Scanner): string[] {
  const path: string[] = []
  do {
    if (path.length > 0) scanner.at++
    take(scanner, BLANK)
    path.push(readKey(scanner))
    take(scanner, BLANK)
  } while (scanner.text[scanner.at] === '.')
  return path
}

function readKey(scanner: Scanner): string {
  const bare = take(scanner, BARE_KEY)
  if (bare !== undefined) return bare
  const basic = take(scanner, BASIC)
  if (basic !== undefined) return unescape(scanner, basic.slice(1, -1))
  const literal = take(scanner, LITERAL)
  if (literal !== undefined) return literal.slice(1, -1)
  throw fault(scanner, 'expected a key')
}

function readValue(scanner: Scanner, depth: number): unknown {
  if (depth > MAX_DEPTH) throw fault(scanner, `nested deeper than ${MAX_DEPTH} levels`)
  const opening = scanner.text[scanner.at]
  if (opening === '[') return readArray(scanner, depth)
  if (opening === '{') return readInline(scanner, depth)
  const multi = take(scanner, MULTI_BASIC) ?? take(scanner, MULTI_LITERAL)
  // Nobody here has to read one.
  if (multi !== undefined) return { literal: multi } satisfies TomlLiteral
  const basic = take(scanner, BASIC)
  if (basic !== undefined) return unescape(scanner, basic.slice(1, -1))
  const literal = take(scanner, LITERAL)
  if (literal !== undefined) return literal.slice(1, -1)
  const scalar = take(scanner, SCALAR)
  if (scalar === undefined) throw fault(scanner, 'expected a value')
  return scalar === 'true' ? true : scalar === 'false' ? false : ({ literal: scalar } satisfies TomlLiteral)
}

function readArray(scanner: Scanner, depth: number): unknown[] {
  const items: unknown[] = []
  scanner.at++
  for (take(scanner, BLANK_LINES); scanner.text[scanner.at] !== ']'; take(scanner, BLANK_LINES)) {
    items.push(readValue(scanner, depth + 1))
    take(scanner, BLANK_LINES)
    if (scanner.text[scanner.at] === ',') scanner.at++
    else if (scanner.text[scanner.at] !== ']') throw fault(scanner, 'expected a comma or ]')
  }
  scanner.at++
  return items
}

/** Values of keys with dots are read as one key: nobody here has such. */
function readInline(scanner: Scanner, depth: number): Record<string, unknown> {
  const members = new Map<string, unknown>()
  scanner.at++
  take(scanner, BLANK)
  while (scanner.text[scanner.at] !== '}') {
    const path = readAssigned(scanner)
    members.set(path.join('.'), readValue(scanner, depth + 1))
    take(scanner, BLANK)
    if (scanner.text[scanner.at] === '}') break
    if (scanner.text[scanner.at] !== ',') throw fault(scanner, 'expected a comma or }')
    scanner.at++
    take(scanner, BLANK)
    if (scanner.text[scanner.at] === '}') throw fault(scanner, 'expected a key')
  }
  scanner.at++
  return Object.fromEntries(members)
}

function unescape(scanner: Scanner, body: string): string {
  return body.replaceAll(/\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))/g, (_, short?: string, long?: string, other?: string) => {
    const code = Number.parseInt(short ?? long ?? '', 16)
    if (code <= 0x10ffff) return String.fromCodePoint(code)
    const character = ESCAPES[other ?? '']
    if (character === undefined) throw fault(scanner, 'a string has an unknown escape')
    return character
  })
}

/** The match at this place, passed over; undefined without one. */
function take(scanner: Scanner, pattern: RegExp): string | undefined {
  pattern.lastIndex = scanner.at
  const found = pattern.exec(scanner.text)?.[0]
  if (found !== undefined) scanner.at += found.length
  return found
}

function fault({ text, at }: Scanner, message: string): AppError {
  return tomlFault(text, at, message)
}

/** `invalid_argument` with the line and column of a place. */
export function tomlFault(text: string, at: number, message: string): AppError {
  const before = text.slice(0, at).split('\n')
  return new AppError('invalid_argument', `${before.length}:${(before.at(-1)?.length ?? 0) + 1} ${message}`)
}

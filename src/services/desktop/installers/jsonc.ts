import { AppError } from '../../../lib/errors.ts'

/** A value's place in a JSON text that may hold comments and trailing commas. */
export interface JsoncNode {
  kind: 'object' | 'array' | 'scalar'
  start: number
  end: number
  /** Of an object, in order. */
  members: JsoncMember[]
}

export interface JsoncMember {
  key: string
  keyStart: number
  value: JsoncNode
}

const MAX_DEPTH = 200
const SCALAR = /"(?:[^"\\\u0000-\u001f]|\\.)*"|-?\d[\d.eE+-]*|true|false|null/y
const SPACE_OR_COMMENT = /(?:\s|\/\/[^\n]*|\/\*[^]*?\*\/)*/y

/** The places of all values. What is not JSON with comments throws `invalid_argument` with line and column. */
export function parseJsonc(text: string): JsoncNode {
  const parser = { text, at: text.startsWith('\ufeff') ? 1 : 0 }
  skip(parser)
  const root = parseValue(parser, 1)
  skip(parser)
  if (parser.at < text.length) throw fault(parser, 'unexpected text after the value')
  return root
}

/** Where the trailing space before a closing brace begins: behind the last member, comma or comment. */
export function contentEnd(text: string, node: JsoncNode): number {
  let end = node.end - 1
  while (end > node.start + 1 && /\s/.test(text[end - 1] ?? '')) end--
  return end
}

/** Whether a comma stands behind the last member already. */
export function hasTrailingComma(text: string, node: JsoncNode): boolean {
  const last = node.members.at(-1)
  if (!last) return false
  const parser = { text, at: last.value.end }
  skip(parser)
  return text[parser.at] === ','
}

interface Parser {
  text: string
  at: number
}

function parseValue(parser: Parser, depth: number): JsoncNode {
  if (depth > MAX_DEPTH) throw fault(parser, `nested deeper than ${MAX_DEPTH} levels`)
  const opening = parser.text[parser.at]
  if (opening === '{' || opening === '[') return parseContainer(parser, opening, depth)
  const start = parser.at
  readScalar(parser)
  return { kind: 'scalar', start, end: parser.at, members: [] }
}

function parseContainer(parser: Parser, opening: '{' | '[', depth: number): JsoncNode {
  const start = parser.at++
  const closing = opening === '{' ? '}' : ']'
  const members: JsoncMember[] = []
  for (skip(parser); parser.text[parser.at] !== closing; skip(parser)) {
    const keyStart = parser.at
    const key = opening === '{' ? parseKey(parser) : ''
    members.push({ key, keyStart, value: parseValue(parser, depth + 1) })
    skip(parser)
    if (parser.text[parser.at] === ',') parser.at++
    else if (parser.text[parser.at] !== closing) throw fault(parser, `expected a comma or ${closing}`)
  }
  parser.at++
  return { kind: opening === '{' ? 'object' : 'array', start, end: parser.at, members: opening === '{' ? members : [] }
}

function parseKey(parser: Parser): string {
  const start = parser.at
  if (parser.text[start] !== '"') throw fault(parser, 'expected a key in double quotes')
  readScalar(parser)
  const key: unknown = JSON.parse(parser.text.slice(start, parser.at))
  skip(parser)
  if (parser.text[parser.at] !== ':') throw fault(parser, 'expected a colon')
  parser.at++
  skip(parser)
  return String(key)
}

function readScalar(parser: Parser): void {
  SCALAR.lastIndex = parser.at
  const found = SCALAR.exec(parser.text)?.[0]
  if (found === undefined || !isJson(found)) throw fault(parser, 'expected a value')
  parser.at += found.length
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function skip(parser: Parser): void {
  SPACE_OR_COMMENT.lastIndex = parser.at
  parser.at += SPACE_OR_COMMENT.exec(parser.text)?.[0].length ?? 0
}

function fault({ text, at }: Parser, message: string): AppError {
  const before = text.slice(0, at).split('\n')
  return new AppError('invalid_argument', `${before.length}:${(before.at(-1)?.length ?? 0) + 1} ${message}`)
}

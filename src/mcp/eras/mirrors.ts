import { AppError } from '../../lib/errors.ts'
import { renderExact } from '../../lib/json-scan.ts'
import { type ClientMessage, type Fields, fieldsOf } from '../message.ts'
import { decodeHeaderValue, encodeHeaderValue } from './header-value.ts'

/** An argument of a tool that a header has to repeat (2026-07-28, Streamable HTTP, custom headers from tool parameters). */
interface Mirror {
  /** Lower case, `mcp-param-` included. */
  header: string
  /** Members from `arguments` down to it. */
  path: readonly string[]
}

/** What the lists of tools that a client was given say, by the name of the tool. */
export type Mirrors = Map<string, readonly Mirror[]>

const MAX_TOOLS = 1000
const MAX_DEPTH = 16
/** Arguments of one tool: each is looked for in every call of it. */
const MAX_MIRRORS = 100
const HEADER_MISMATCH = -32020
/** A header name (RFC 9110 §5.6.2, token). */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$/
const DECIMAL = /^-?\d{1,20}(?:\.\d{1,20})?$/

/** Takes note of the annotations `x-mcp-header` in a list of tools on its way to the client; a later list replaces what an earlier one said. */
export function learnMirrors(mirrors: Mirrors, tools: unknown): void {
  for (const tool of Array.isArray(tools) ? tools.map(fieldsOf) : []) {
    const name = tool?.['name']
    if (typeof name !== 'string') continue
    const found = findMirrors(fieldsOf(tool?.['inputSchema']), [])
    const isAmbiguous = new Set(found.map(({ header }) => header)).size < found.length
    if (found.length === 0 || found.length > MAX_MIRRORS || isAmbiguous) mirrors.delete(name)
    else if (mirrors.size < MAX_TOOLS || mirrors.has(name)) mirrors.set(name, found)
  }
}

/**
 * Refuses a call whose headers do not repeat the arguments they have to. Servers that are programs without HTTP cannot do that. A tool whose
 * list the client was not given here is not judged: its headers are nothing that anybody relies on.
 * @throws AppError invalid_argument with code -32020.
 */
export function checkMirrors(mirrors: Mirrors, message: ClientMessage, headers: Readonly<Record<string, string>>): void {
  const { name, arguments: args } = message.params
  if (message.method !== 'tools/call' || typeof name !== 'string') return
  for (const { header, path } of mirrors.get(name) ?? []) {
    const value = valueAt(args, path)
    const isMirrored = typeof value === 'string' || typeof value === 'boolean' || (typeof value === 'number' && !isUnsafe(value))
    if (isMirrored && !repeats(headers[header], value)) throw mismatch(`${header} and params.arguments.${path.join('.')} differ`)
  }
}

/** The headers that repeat the arguments of a call whose tool is known to want them; `params` as `parseExact` gives them. */
export function mirrorHeaders(mirrors: Mirrors, { name, arguments: args }: Fields): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const { header, path } of (typeof name === 'string' ? mirrors.get(name) : undefined) ?? []) {
    const value = valueAt(args, path)
    if (typeof value === 'string') headers[header] = encodeHeaderValue(value)
    else if (typeof value === 'boolean' || typeof value === 'number' || JSON.isRawJSON(value)) headers[header] = renderExact(value)
  }
  return headers
}

/** Annotations count only where `properties` alone lead to them. */
function findMirrors(schema: Fields | undefined, path: readonly string[]): Mirror[] {
  const name = path.length > 0 ? schema?.['x-mcp-header'] : undefined
  const own = typeof name === 'string' && TOKEN.test(name) ? [{ header: `mcp-param-${name.toLowerCase()}`, path }] : []
  const properties = path.length < MAX_DEPTH ? fieldsOf(schema?.['properties']) : undefined
  return [...own, ...Object.entries(properties ?? {}).flatMap(([key, child]) => findMirrors(fieldsOf(child), [...path, key]))]
}

function valueAt(args: unknown, path: readonly string[]): unknown {
  let value = args
  for (const key of path) {
    const fields = fieldsOf(value)
    value = fields && Object.hasOwn(fields, key) ? fields[key] : undefined
  }
  return value
}

/** No header repeats an integer that JSON readers round. */
function isUnsafe(value: number): boolean {
  return Number.isInteger(value) && !Number.isSafeInteger(value)
}

function repeats(header: string | undefined, value: string | number | boolean): boolean {
  const decoded = header === undefined ? undefined : decodeHeaderValue(header)
  if (decoded === undefined) return false
  return typeof value === 'number' && DECIMAL.test(decoded) ? Number(decoded) === value : decoded === String(value)
}

function mismatch(message: string): AppError {
  return new AppError('invalid_argument', message, { details: { rpc: HEADER_MISMATCH } })
}

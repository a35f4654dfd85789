import { isAlias, isCollection, isMap, isScalar, isSeq, LineCounter, parseAllDocuments } from 'yaml'
import type { Document, Node, Pair } from 'yaml'
import { AppError } from './errors.ts'

const DEFAULT_MAX_BYTES = 4 * 1024 * 1024
/** Far above any resource or config; far below what exhausts the stack of those who walk the value. */
const MAX_DEPTH = 100
/** What an alias may multiply out to (a "billion laughs" reaches this at once). */
const MAX_ALIAS_COUNT = 100
const MAX_LISTED_FAULTS = 50

/** Where something stands in a file; both count from 1. */
export interface Position {
  line: number
  column: number
}

export interface YamlDocument {
  /** Plain objects, arrays, strings, numbers, booleans and nulls. */
  value: unknown
  /**
   * Where the value (or, with `'key'`, the key) at a path stands. A path that does not exist gives the key of its nearest existing
   * parent, or the beginning of the document.
   */
  positionOf(path: readonly (string | number)[], what?: 'key' | 'value'): Position
}

/** What is wrong, where in the text and, when the text could be read, where in its value (`spec.rules[0].verbs`). */
export interface Fault extends Position {
  path?: string
  message: string
}

/**
 * The documents of a YAML 1.2 text (JSON is YAML), empty ones left out. Only the core schema's types exist: `yes` is a string, tags of
 * other schemas are refused, keys are scalars and unique. Throws `invalid_argument` with one `file:line:column message` line per fault;
 * also for more than `maxBytes`, nesting deeper than 100 and aliases that multiply.
 */
export function parseYamlDocuments(
  text: string,
  fileName: string,
  { maxBytes = DEFAULT_MAX_BYTES }: { maxBytes?: number } = {},
): YamlDocument[] {
  const bytes = Buffer.byteLength(text)
  if (bytes > maxBytes)
    throw new AppError('invalid_argument', `${fileName}: has ${bytes} bytes, more than the ${maxBytes} accepted: split the file`)
  const lines = new LineCounter()
  const at = (offset: number): Position => {
    const { line, col } = lines.linePos(offset)
    return { line: Math.max(1, line), column: Math.max(1, col) }
  }
  const documents = parse(text, lines)
  const faults = documents.flatMap((document) => findFaults(document, at))
  if (faults.length > 0) throw faultsError(faults, fileName)
  return documents.filter((document) => !isEmpty(document)).map((document) => readDocument(document, fileName, at))
}

/** One `invalid_argument` for all faults: `file:line:column path: message` lines, at most 50; `details.faults` has them one by one. */
export function faultsError(faults: readonly Fault[], fileName: string): AppError {
  const listed = faults.slice(0, MAX_LISTED_FAULTS)
  const lines = listed.map((fault) => `${fileName}:${fault.line}:${fault.column} ${fault.path ? `${fault.path}: ` : ''}${fault.message}`)
  if (faults.length > listed.length) lines.push(`${fileName}: and ${faults.length - listed.length} more`)
  return new AppError('invalid_argument', lines.join('\n'), { details: { faults: listed } })
}

function parse(text: string, lineCounter: LineCounter): Document.Parsed[] {
  // uniqueKeys of the library compares every key with every other; findFaults does it in linear time.
  return [
    ...parseAllDocuments(text, {
      version: '1.2',
      schema: 'core',
      resolveKnownTags: false,
      uniqueKeys: false,
      prettyErrors: false,
      logLevel: 'error',
      lineCounter,
    }),
  ]
}

function isEmpty(document: Document.Parsed): boolean {
  const root = document.contents
  return root === null || (isScalar(root) && root.value === null)
}

/** Syntax faults and warnings of the parser; what the parser lets through but we do not, only when it found nothing. */
function findFaults(document: Document.Parsed, at: (offset: number) => Position): Fault[] {
  const faults: Fault[] = [...document.errors, ...document.warnings].map((fault) => ({
    ...at(fault.pos[0]),
    message: fault.code === 'RESOURCE_EXHAUSTION' ? `nested deeper than ${MAX_DEPTH} levels` : fault.message,
  }))
  if (document.directives.yaml.explicit && document.directives.yaml.version !== '1.2')
    faults.push({ ...at(0), message: 'only YAML 1.2 is understood: remove the %YAML line' })
  if (faults.length > 0 || document.contents === null) return faults
  inspect(document.contents, { faults, at, anchors: new Map() }, 1)
  return faults
}

interface Inspection {
  faults: Fault[]
  at: (offset: number) => Position
  /** Whether the node of an anchor met so far is complete; an alias inside its own node would make the value a circle. */
  anchors: Map<string, boolean>
}

function inspect(node: unknown, inspection: Inspection, depth: number): void {
  const { faults, at, anchors } = inspection
  const fault = (message: string, place = node): number => faults.push({ ...at(startOf(place)), message })
  if (isAlias(node)) {
    if (!anchors.has(node.source)) fault(`no anchor &${node.source} stands before this alias`)
    else if (!anchors.get(node.source)) fault(`alias *${node.source} contains itself`)
    return
  }
  if (depth > MAX_DEPTH) return void fault(`nested deeper than ${MAX_DEPTH} levels`)
  const anchor = isCollection(node) || isScalar(node) ? node.anchor : undefined
  if (anchor !== undefined) anchors.set(anchor, isScalar(node))
  if (isSeq(node)) for (const item of node.items) inspect(item, inspection, depth + 1)
  if (isMap(node)) {
    const seen = new Set<string>()
    for (const pair of node.items) {
      if (!isScalar(pair.key)) fault('a key must be a plain value, not a list, a map or an alias', pair.key ?? node)
      else {
        const key = keyText(pair)
        if (seen.has(key)) fault(`duplicate key ${JSON.stringify(key)}`, pair.key)
        seen.add(key)
        if (pair.key.anchor !== undefined) anchors.set(pair.key.anchor, true)
      }
      inspect(pair.value, inspection, depth + 1)
    }
  }
  if (anchor !== undefined) anchors.set(anchor, true)
}

/** The property name that a pair's key becomes. */
function keyText(pair: Pair): string {
  const value = isScalar(pair.key) ? pair.key.value : null
  return typeof value === 'string' ? value : value === null ? '' : JSON.stringify(value)
}

function startOf(node: unknown): number {
  return isCollection(node) || isScalar(node) || isAlias(node) ? (node.range?.[0] ?? 0) : 0
}

function readDocument(document: Document.Parsed, fileName: string, at: (offset: number) => Position): YamlDocument {
  return {
    value: toValue(document, fileName),
    positionOf: (path, what = 'value') => at(offsetOf(document.contents, path, what)),
  }
}

function toValue(document: Document.Parsed, fileName: string): unknown {
  try {
    return document.toJS({ maxAliasCount: MAX_ALIAS_COUNT })
  } catch (cause) {
    // ReferenceError is how the library refuses aliases; findFaults has ruled out every other of its causes.
    if (cause instanceof ReferenceError)
      throw new AppError('invalid_argument', `${fileName}: its aliases multiply: write the values out`, { cause })
    throw cause
  }
}

function offsetOf(root: Node | null, path: readonly (string | number)[], what: 'key' | 'value'): number {
  let key: unknown = root
  let value: unknown = root
  for (const step of path) {
    const next = childOf(value, step)
    if (!next) return startOf(key)
    key = next.key
    value = next.value
  }
  return startOf(what === 'key' || value === null ? key : value)
}

function childOf(node: unknown, step: string | number): { key: unknown; value: unknown } | undefined {
  if (isSeq(node) && typeof step === 'number' && step < node.items.length) return { key: node.items[step], value: node.items[step] }
  if (!isMap(node)) return undefined
  const pair = node.items.find((candidate) => keyText(candidate) === String(step))
  return pair && { key: pair.key, value: pair.value }
}

import { isDeepStrictEqual } from 'node:util'
import { isMap, isScalar, isSeq, LineCounter, parseAllDocuments } from 'yaml'
import type { Document, Pair, YAMLMap, YAMLSeq } from 'yaml'
import { AppError } from '../../../lib/errors.ts'

type Entry = Readonly<Record<string, unknown>>

/**
 * The text of a YAML file whose list `container` has an item with this `name` for each entry. Everything else stays byte for byte. What cannot be
 * changed in this way throws `invalid_argument` with its place.
 * @param head what a new file begins with.
 */
export function setYamlEntries(text: string, container: string, entries: Readonly<Record<string, Entry>>, head: string): string {
  let edited = text.trim() === '' ? text + head : text
  for (const [name, entry] of Object.entries(entries)) edited = setItem(edited, container, { name, ...entry })
  return edited
}

/** The item of the list that has this name; undefined without one. */
export function findYamlEntry(text: string, container: string, name: string): Record<string, unknown> | undefined {
  if (text.trim() === '') return undefined
  return listOf(parse(text).value, container).find((item) => item['name'] === name)
}

interface Item extends Entry {
  name: string
}

function setItem(text: string, container: string, item: Item): string {
  const parsed = parse(text)
  const items = listOf(parsed.value, container)
  const before = items.find(({ name }) => name === item.name)
  if (before && isDeepStrictEqual(before, { ...item })) return text
  const edited = before ? replaceItem(text, parsed, container, item) : addItem(text, parsed, container, item)
  // What is not as it was meant, is not written.
  const wanted = { ...parsed.value, [container]: before ? items.map((one) => (one === before ? item : one)) : [...items, item] }
  if (!isDeepStrictEqual(parse(edited).value, wanted)) throw cannot(parsed, container)
  return edited
}

interface Parsed {
  root: YAMLMap
  value: Record<string, unknown>
  pair(key: string): Pair | undefined
  fault(at: number, message: string): AppError
}

function parse(text: string): Parsed {
  const lines = new LineCounter()
  const documents: Document[] = [...parseAllDocuments(text, { lineCounter: lines, version: '1.2' })]
  const fault = (at: number, message: string): AppError => {
    const { line, col } = lines.linePos(at)
    return new AppError('invalid_argument', `${Math.max(1, line)}:${Math.max(1, col)} ${message}`)
  }
  const [document, second] = documents
  const broken = document?.errors[0]
  if (broken) throw fault(broken.pos[0], 'this is not YAML')
  const root = document?.contents
  if (!document || second || !isMap(root) || root.flow === true) throw fault(0, 'the file must hold one document with a key on each line')
  const read: unknown = document.toJS({ maxAliasCount: 100 })
  return {
    root,
    value: typeof read === 'object' && read !== null ? { ...read } : {},
    pair: (key) => root.items.find((pair) => isScalar(pair.key) && pair.key.value === key),
    fault,
  }
}

function listOf(value: Record<string, unknown>, container: string): Record<string, unknown>[] {
  const list = value[container]
  return Array.isArray(list) ? list.map((item: unknown) => (typeof item === 'object' && item !== null ? { ...item } : {})) : []
}

function cannot({ fault, pair }: Parsed, container: string): AppError {
  const key = pair(container)?.key
  return fault(
    isScalar(key) ? (key.range?.[0] ?? 0) : 0,
    `"${container}" is written in a way that cannot be changed here: write one item on a line of its own, with - before it`,
  )
}

function addItem(text: string, parsed: Parsed, container: string, item: Item): string {
  const newline = text.includes('\r\n') ? '\r\n' : '\n'
  const pair = parsed.pair(container)
  if (!pair) {
    const first = parsed.root.range?.[0] ?? 0
    if (columnOf(text, first) !== 0 || /^\.\.\.[ \t]*\r?$/m.test(text)) throw cannot(parsed, container)
    return `${text}${text.endsWith('\n') ? '' : newline}${container}:${newline}${renderItem(item, 2, newline)}`
  }
  const list = blockOf(pair)
  const last = list?.items.at(-1)
  const end = isNode(last) ? last.range?.[1] : undefined
  if (!list || end === undefined) throw cannot(parsed, container)
  const lineEnd = text[end - 1] === '\n' ? end : text.indexOf('\n', end) + 1
  const isWhole = lineEnd > 0
  const head = isWhole ? text.slice(0, lineEnd) : `${text}${newline}`
  return head + renderItem(item, columnOf(text, list.range?.[0] ?? 0), newline) + (isWhole ? text.slice(lineEnd) : '')
}

function replaceItem(text: string, parsed: Parsed, container: string, item: Item): string {
  const pair = parsed.pair(container)
  const list = pair && blockOf(pair)
  const node = list?.items.find((one) => isMap(one) && one.get('name') === item.name)
  const range = isNode(node) ? node.range : undefined
  if (!list || !range || (isMap(node) && node.flow === true)) throw cannot(parsed, container)
  const newline = text.includes('\r\n') ? '\r\n' : '\n'
  const dash = columnOf(text, list.range?.[0] ?? 0)
  const body = renderItem(item, dash, newline)
    .slice(dash + 2)
    .trimEnd()
  if (columnOf(text, range[0]) !== dash + 2) throw cannot(parsed, container)
  const old = text.slice(range[0], range[1])
  return text.slice(0, range[0]) + body + old.slice(old.trimEnd().length) + text.slice(range[1])
}

function blockOf({ value }: Pair): YAMLSeq | undefined {
  return isSeq(value) && value.flow !== true && value.items.length > 0 ? value : undefined
}

function isNode(value: unknown): value is { range?: [number, number, number] | null } {
  return typeof value === 'object' && value !== null && 'range' in value
}

function columnOf(text: string, at: number): number {
  return at - (text.lastIndexOf('\n', at - 1) + 1)
}

/** JSON is YAML: strings are quoted whatever they look like. */
function renderItem(item: Item, indent: number, newline: string): string {
  const lines = Object.entries(item).map(([key, value], index) => `${index === 0 ? '- ' : '  '}${key}: ${JSON.stringify(value)}`)
  return lines.map((line) => `${' '.repeat(indent)}${line}${newline}`).join('')
}

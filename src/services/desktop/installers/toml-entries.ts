import { isDeepStrictEqual } from 'node:util'
import { scanToml, tomlFault, type TomlStatement } from './toml-scan.ts'

type Entry = Readonly<Record<string, unknown>>

/** Of an entry that is there already, others are its person's. */
const OURS = ['command', 'args', 'env']

/**
 * The text of a TOML file with a table `[CONTAINER.NAME]` for each entry: a new one at the end, or one that is there with other values of `command`,
 * `args` and `env`. Everything else stays byte for byte. What cannot be changed in this way throws `invalid_argument` with its place.
 */
export function setTomlEntries(text: string, container: string, entries: Readonly<Record<string, Entry>>): string {
  let edited = text
  for (const [name, entry] of Object.entries(entries)) {
    edited = setEntry(edited, container, name, entry)
    const written = findTomlEntry(edited, container, name)
    for (const key of OURS)
      if (!isDeepStrictEqual(written?.[key], entry[key])) throw tomlFault(text, 0, `the entry "${name}" cannot be written into this file`)
  }
  return edited
}

/** The values of the table `[CONTAINER.NAME]`, with `env` as one value however it is written; undefined without such a table. */
export function findTomlEntry(text: string, container: string, name: string): Record<string, unknown> | undefined {
  const statements = scanToml(text)
  if (!statements.some((one) => one.kind === 'table' && isPath(one.path, [container, name]))) return undefined
  const found = new Map<string, unknown>()
  for (const { kind, path, table, value } of statements)
    if (kind === 'value' && path.length === 1 && isPath(table, [container, name])) found.set(path[0] ?? '', value)
  const separate = valuesOf(statements, [container, name, 'env'])
  return Object.fromEntries(separate ? [...found, ['env', separate]] : found)
}

function setEntry(text: string, container: string, name: string, entry: Entry): string {
  const statements = scanToml(text)
  for (const statement of statements) refuseOtherForms(text, statement, container, name)
  const separate = valuesOf(statements, [container, name, 'env'])
  const own = statements.filter(({ kind, path }) => kind === 'table' && isPath(path, [container, name]))
  const [table, second] = own
  if (second) throw tomlFault(text, second.start, `[${container}.${name}] stands here twice`)
  if (separate && !isDeepStrictEqual(separate, entry['env'])) {
    const place = statements.find(({ path }) => isPath(path, [container, name, 'env']))
    throw tomlFault(text, place?.start ?? 0, `the environment of "${name}" has a table of its own: remove it first`)
  }
  const wanted = Object.entries(entry).filter(([key]) => !(separate && key === 'env'))
  const newline = text.includes('\r\n') ? '\r\n' : '\n'
  if (!table) return append(text, [`[${renderPath([container, name])}]`, ...wanted.map(renderLine)], newline)
  const values = statements.filter((one) => one.kind === 'value' && isPath(one.table, [container, name]))
  return change(text, table, values, wanted, newline)
}

/** What would make the file say something else, or nothing, with our table in it. */
function refuseOtherForms(text: string, { kind, path, table, start }: TomlStatement, container: string, name: string): void {
  const whole = kind === 'value' ? [...table, ...path] : path
  const isContainer = whole[0] === container && (kind === 'value' ? table.length === 0 : kind === 'array of tables' && path.length === 1)
  if (isContainer)
    throw tomlFault(text, start, `"${container}" is written in a way that cannot be changed here: write [${container}.NAME] tables`)
  if (!isPath(whole.slice(0, 2), [container, name])) return
  const isInline = kind === 'value' && table.length < 2
  const isDotted = kind === 'value' && isPath(table, [container, name]) && path.length > 1 && OURS.includes(path[0] ?? '')
  const isUrl = kind === 'value' && isPath(whole, [container, name, 'url'])
  if (isInline || isDotted || kind === 'array of tables')
    throw tomlFault(text, start, `the entry "${name}" is written in a way that cannot be changed here: remove it first`)
  if (isUrl) throw tomlFault(text, start, `the entry "${name}" is one with a url: remove it first`)
}

function append(text: string, lines: readonly string[], newline: string): string {
  const body = lines.map((line) => line + newline).join('')
  if (text.trim() === '') return text + body
  return `${text}${text.endsWith('\n') ? '' : newline}${newline}${body}`
}

function change(
  text: string,
  table: TomlStatement,
  values: readonly TomlStatement[],
  wanted: readonly (readonly [string, unknown])[],
  newline: string,
): string {
  let edited = text
  const missing: string[] = []
  const edits: { start: number; end: number; value: unknown }[] = []
  for (const [key, value] of wanted) {
    if (!OURS.includes(key)) continue
    const present = values.find(({ path }) => isPath(path, [key]))
    if (!present) missing.push(renderLine([key, value]))
    else if (!isDeepStrictEqual(present.value, value)) edits.push({ start: present.valueStart, end: present.end, value })
  }
  for (const { start, end, value } of edits.toSorted((a, b) => b.start - a.start))
    edited = edited.slice(0, start) + renderValue(value) + edited.slice(end)
  if (missing.length === 0) return edited
  // Behind the header's line, which no edit has moved.
  const lineEnd = edited.indexOf('\n', table.end)
  const head = lineEnd === -1 ? edited + newline : edited.slice(0, lineEnd + 1)
  return head + missing.map((line) => line + newline).join('') + (lineEnd === -1 ? '' : edited.slice(lineEnd + 1))
}

/** Those of a table, by key; undefined when there is none. */
function valuesOf(statements: readonly TomlStatement[], table: readonly string[]): Record<string, unknown> | undefined {
  if (!statements.some((one) => one.kind === 'table' && isPath(one.path, table))) return undefined
  const values = statements.filter((one) => one.kind === 'value' && isPath(one.table, table))
  return Object.fromEntries(values.map(({ path, value }) => [path.join('.'), value]))
}

function isPath(path: readonly string[], wanted: readonly string[]): boolean {
  return path.length === wanted.length && path.every((part, index) => part === wanted[index])
}

function renderLine([key, value]: readonly [string, unknown]): string {
  return `${renderKey(key)} = ${renderValue(value)}`
}

function renderPath(path: readonly string[]): string {
  return path.map(renderKey).join('.')
}

function renderKey(key: string): string {
  return /^[A-Za-z0-9_-]+$/.test(key) ? key : renderString(key)
}

function renderValue(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(renderValue).join(', ')}]`
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).map(renderLine)
    return members.length === 0 ? '{}' : `{ ${members.join(', ')} }`
  }
  return typeof value === 'string' ? renderString(value) : String(value)
}

/** The escapes of JSON are among those of TOML, which has one character more that must not stand bare. */
function renderString(text: string): string {
  return JSON.stringify(text).replaceAll('\u007f', '\\u007f')
}

import { mkdir, realpath, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { readTextIfPresent, writeFileAtomic } from '../../../lib/atomic-file.ts'
import { AppError } from '../../../lib/errors.ts'
import type { FormatRow } from './clients.ts'
import { contentEnd, hasTrailingComma, parseJsonc } from './jsonc.ts'
import type { JsoncNode } from './jsonc.ts'
import { findTomlEntry, setTomlEntries } from './toml-entries.ts'
import { findYamlEntry, setYamlEntries } from './yaml-entries.ts'

/** `auto` writes as the file is written; `none` puts new entries in on one line. `pretty` and `compact` re-format the whole file. */
export const JSON_FORMATS = ['pretty', 'compact', 'auto', 'none'] as const
export type JsonFormat = (typeof JSON_FORMATS)[number]

export type Entries = Record<string, Record<string, unknown>>

/** Where the servers stand in a file, and how. */
export type Place = Pick<FormatRow, 'notation' | 'container'>

/**
 * The text of a client's config with these entries set in its container. Everything else stays byte for byte: order, unknown keys,
 * comments. A container that is no object, or a file that is not JSON (with comments), throws `invalid_argument`.
 */
export function setEntries(text: string, container: string, entries: Entries, format: JsonFormat): string {
  if (text.trim() === '') return renderWhole({ [container]: entries }, format === 'compact' || format === 'none' ? 'compact' : 'pretty')
  let edited = text
  for (const [name, entry] of Object.entries(entries)) edited = setEntry(edited, container, name, entry, format)
  if (format === 'pretty' || format === 'compact') return reformat(edited, format)
  return edited
}

/** The byte order mark, which some editors write first. */
const MARK = '\ufeff'
/** What a file of Continue begins with. */
const YAML_HEAD = 'name: Local Config\nversion: 1.0.0\nschema: v1\n'

/** The text of a client's file with these entries, in whichever notation; see `setEntries`, `setTomlEntries` and `setYamlEntries`. */
export function renderClientConfig(text: string, { notation, container }: Place, entries: Entries, format: JsonFormat): string {
  if (notation === 'toml') return setTomlEntries(text, container, entries)
  if (notation === 'yaml') return setYamlEntries(text, container, entries, YAML_HEAD)
  return setEntries(text, container, entries, format)
}

/** Writes the entries into a client's file, made when absent; a changed file's former text is kept beside it as `.bak`. Tells whether anything changed. */
export async function updateClientConfig(path: string, place: Place, entries: Entries, format: JsonFormat): Promise<boolean> {
  const target = await realpath(path).catch(() => path)
  const before = await readTextIfPresent(target, { keepsMark: true })
  const mark = before?.startsWith(MARK) === true ? MARK : ''
  let after: string
  try {
    after = mark + renderClientConfig(before?.slice(mark.length) ?? '', place, entries, format)
  } catch (thrown) {
    if (thrown instanceof AppError)
      throw new AppError(thrown.code, `${path}:${thrown.message}\nThe file was left as it is.`, { cause: thrown })
    throw thrown
  }
  if (after === before) return false
  // Headers of an entry can be secrets.
  const mode = before === undefined ? 0o600 : (await stat(target)).mode & 0o777
  // Written anew, not copied over: the folder may be somebody's repository, with a link of that name in it.
  if (before !== undefined) await writeFileAtomic(`${target}.bak`, before, { mode })
  await mkdir(dirname(target), { recursive: true })
  await writeFileAtomic(target, after, { mode })
  return true
}

/** The entry of that name in a client's file; undefined when there is none, or when it cannot be read without its comments. */
export async function findEntry(path: string, { notation, container }: Place, name: string): Promise<unknown> {
  const text = await readTextIfPresent(path)
  if (text === undefined || text.trim() === '') return undefined
  if (notation === 'toml') return findTomlEntry(text, container, name)
  if (notation === 'yaml') return findYamlEntry(text, container, name)
  const root = parseJsonc(text)
  const servers = containerPath(root, container).reduce<JsoncNode | undefined>((node, key) => node && memberOf(node, key), root)
  const entry = servers && memberOf(servers, name)
  if (!entry) return undefined
  try {
    return JSON.parse(text.slice(entry.start, entry.end))
  } catch {
    return undefined
  }
}

/** A whole file of these entries, as an example to copy. */
export function renderWhole(value: unknown, style: 'pretty' | 'compact'): string {
  return `${style === 'pretty' ? JSON.stringify(value, null, 2) : JSON.stringify(value)}\n`
}

function setEntry(text: string, container: string, name: string, entry: unknown, format: JsonFormat): string {
  const root = parseJsonc(text)
  if (root.kind !== 'object') throw new AppError('invalid_argument', '1:1 the file must hold an object')
  const layout = layoutOf(text, format)
  let servers = root
  const path = containerPath(root, container)
  for (const [depth, key] of path.entries()) {
    const next = memberOf(servers, key)
    if (!next) return insertMember(text, servers, key, { [name]: entry }, layout, depth)
    if (next.kind !== 'object') throw new AppError('invalid_argument', `1:1 "${key}" must be an object`)
    servers = next
  }
  const present = memberOf(servers, name)
  if (!present) return insertMember(text, servers, name, entry, layout, path.length)
  if (isSame(text.slice(present.start, present.end), entry)) return text
  return text.slice(0, present.start) + renderValue(entry, layout, path.length + 1) + text.slice(present.end)
}

/** opencode has the servers in `mcp`, or, where that is so already, in `mcp.servers`; a server of that name would say its `type`. */
function containerPath(root: JsoncNode, container: string): string[] {
  const nested = container === 'mcp' ? memberOf(memberOf(root, 'mcp') ?? root, 'servers') : undefined
  const isNested = nested?.kind === 'object' && memberOf(root, 'mcp') !== undefined && memberOf(nested, 'type') === undefined
  return isNested ? [container, 'servers'] : [container]
}

interface Layout {
  /** Undefined: all on one line. */
  indent: string | undefined
  newline: string
}

function layoutOf(text: string, format: JsonFormat): Layout {
  const newline = text.includes('\r\n') ? '\r\n' : '\n'
  const isCompact = !text.trim().includes('\n') && text.replace(/\s/g, '') !== '{}'
  if (format === 'none' || format === 'compact' || isCompact) return { indent: undefined, newline }
  return { indent: text.match(/\n([ \t]+)\S/)?.[1] ?? '  ', newline }
}

/** The last member of that name counts, as it does for JSON readers. */
function memberOf(node: JsoncNode, key: string): JsoncNode | undefined {
  return node.members.findLast((member) => member.key === key)?.value
}

function insertMember(text: string, node: JsoncNode, key: string, value: unknown, layout: Layout, depth: number): string {
  const last = node.members.at(-1)
  const end = contentEnd(text, node)
  const inside = text.slice(node.start + 1, end)
  const { indent, newline } = layout
  const colon = indent === undefined ? ':' : ': '
  const member = `${JSON.stringify(key)}${colon}${renderValue(value, layout, depth + 1)}`
  const comma = last && !hasTrailingComma(text, node) ? ',' : ''
  const head = last ? text.slice(0, last.value.end) + comma + text.slice(last.value.end, end) : text.slice(0, node.start + 1) + inside
  // A line comment would swallow what follows on its line.
  if (indent === undefined && !inside.includes('//')) return `${head}${member}${text.slice(end)}`
  const step = indent ?? '  '
  return `${head}${newline}${step.repeat(depth + 1)}${member}${newline}${step.repeat(depth)}${text.slice(node.end - 1)}`
}

function renderValue(value: unknown, { indent, newline }: Layout, depth: number): string {
  if (indent === undefined) return JSON.stringify(value)
  return JSON.stringify(value, null, indent).replaceAll('\n', newline + indent.repeat(depth))
}

function isSame(text: string, entry: unknown): boolean {
  try {
    return JSON.stringify(JSON.parse(text)) === JSON.stringify(entry)
  } catch {
    return false
  }
}

function reformat(text: string, format: 'pretty' | 'compact'): string {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new AppError(
      'invalid_argument',
      `1:1 has comments or trailing commas, which --json-format=${format} would lose: use --json-format=auto`,
      { cause },
    )
  }
  return renderWhole(value, format)
}

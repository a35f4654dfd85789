import { countBytes, cutText, fitJson } from './json-fit.ts'
import { REDACTED, isSecretName, redactShapes } from './secret-shapes.ts'

/** Takes secrets out of what is logged and audited: by their shape, by the name they stand under, and those known by value. */
export interface Redactor {
  readonly text: (text: string) => string
  /**
   * The value itself when it is short and holds no secret, else a redacted copy of a JSON-like value whose JSON text has at most about `maxBytes` bytes (default 16 KiB), at most 32 levels deep.
   * What is left out is marked: `…[+N bytes]`, `…[+N items]`, `…[+N members]`. Only so much of the value is searched.
   */
  readonly value: (value: unknown, options?: { readonly maxBytes?: number }) => unknown
  /** Makes a secret known by value. Returns false for one too short (under 4 characters) to be told from ordinary text. */
  readonly add: (secret: string) => boolean
  /** Takes back one `add`; a secret added twice stays known until it is removed twice. */
  readonly remove: (secret: string) => void
}

const DEFAULT_MAX_BYTES = 16 * 1024
const MAX_DEPTH = 32
const MAX_KEY_CHARS = 128
const SHORTEST_SECRET = 4
/** Characters past a cut that are looked at too: a secret that the window's own end cuts lies within them and is dropped with them. */
const WINDOW = 2048
/** JSON writes a control character as \u0000; what a value is charged beside its characters covers its punctuation, or its digits. */
const MOST_BYTES_PER_CHAR = 6
/** Characters a member may not use, so that those after a large one still have room. */
const RESERVE = 512
/** Values nested deeper are copied at once, so that what need not be copied is never cut either. */
const CLEAN_DEPTH = 6
const MAX_REMEMBERED = 1000
const MAX_REMEMBERED_CHARS = 128

/** Takes secrets out by value (those it was told), by shape and by the name of their member; linear in the text. */
export function createRedactor(options: { readonly knownSecrets?: Iterable<string> } = {}): Redactor {
  const counts = new Map<string, number>()
  /** Every spelling of every known secret, longest first: one may be part of another. */
  let spellings: readonly string[] = []
  let window = WINDOW
  /** Short texts without a secret that come again and again, so that they are searched once. None with a secret is kept here. */
  const keys = new Map<string, RedactedKey>()
  const clean = new Set<string>()

  function text(input: string): string {
    let output = input
    for (const spelling of spellings) if (output.includes(spelling)) output = output.replaceAll(spelling, REDACTED)
    return redactShapes(output)
  }

  function key(name: string): RedactedKey {
    const known = keys.get(name)
    if (known) return known
    const redacted = { text: copyKey(name, text), isSecret: isSecretName(name) }
    if (name.length <= MAX_REMEMBERED_CHARS && keys.size < MAX_REMEMBERED && redacted.text === name) keys.set(name, redacted)
    return redacted
  }

  /** A value that is one short text, such as the address of a server. */
  function shortText(input: string): string {
    if (clean.has(input)) return input
    const output = text(input)
    if (output === input && clean.size < MAX_REMEMBERED) clean.add(input)
    return output
  }

  function respell(): void {
    // What was no secret may be one now.
    keys.clear()
    clean.clear()
    spellings = [...new Set([...counts.keys()].flatMap(spell))].toSorted((a, b) => b.length - a.length)
    window = Math.max(WINDOW, spellings[0]?.length ?? 0)
  }

  function add(secret: string): boolean {
    if (secret.length < SHORTEST_SECRET) return false
    counts.set(secret, (counts.get(secret) ?? 0) + 1)
    respell()
    return true
  }

  function remove(secret: string): void {
    const count = counts.get(secret) ?? 0
    if (count > 1) counts.set(secret, count - 1)
    else counts.delete(secret)
    respell()
  }

  for (const secret of options.knownSecrets ?? []) add(secret)
  return {
    text,
    value: (value, { maxBytes = DEFAULT_MAX_BYTES } = {}) => {
      if (typeof value === 'string' && value.length <= MAX_REMEMBERED_CHARS && value.length * MOST_BYTES_PER_CHAR + 2 <= maxBytes)
        return shortText(value)
      const chars = countClean(value, { text, key, maxChars: maxBytes }, CLEAN_DEPTH)
      if (chars * MOST_BYTES_PER_CHAR <= maxBytes || (chars <= maxBytes && countBytes(value) <= maxBytes)) return value
      const copying: Copying = { text, key, maxChars: maxBytes, left: 4 * maxBytes, window }
      const copied = copy(value, copying, 0)
      const used = 4 * maxBytes - copying.left
      return used * MOST_BYTES_PER_CHAR <= maxBytes ? copied : fitJson(copied, maxBytes)
    },
    add,
    remove,
  }
}

/** The headers with those of secret names replaced and the others redacted by `text` (default: by shape). Absent ones are left out. */
export function redactHeaders(
  headers: Readonly<Record<string, string | readonly string[] | undefined>>,
  text: (text: string) => string = redactShapes,
): Record<string, string | string[]> {
  const redacted: [string, string | string[]][] = []
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined) continue
    if (isSecretName(name)) redacted.push([name, REDACTED])
    else redacted.push([name, typeof value === 'string' ? text(value) : value.map(text)])
  }
  return Object.fromEntries(redacted)
}

/** As it is, in a URL, and inside a JSON string as JavaScript, PHP, Go, Python and .NET write one. */
function spell(secret: string): string[] {
  const json = JSON.stringify(secret).slice(1, -1)
  const escaped = (unsafe: RegExp, toHex: (hex: string) => string): string =>
    json.replaceAll(unsafe, (character) => `\\u${toHex(character.charCodeAt(0).toString(16).padStart(4, '0'))}`)
  return [
    secret,
    json,
    encodeURIComponent(secret.toWellFormed()),
    json.replaceAll('/', '\\/'),
    escaped(/[&<>]/g, (hex) => hex),
    escaped(/[^ -~]/g, (hex) => hex),
    escaped(/[&<>'+`]|[^ -~]/g, (hex) => hex.toUpperCase()).replaceAll('\\"', '\\u0022'),
  ]
}

interface RedactedKey {
  readonly text: string
  readonly isSecret: boolean
}

interface Rules {
  readonly text: (text: string) => string
  readonly key: (name: string) => RedactedKey
  readonly maxChars: number
}

/**
 * The characters that a copy of the value would be charged when nothing in it has to be changed; infinite when something may have to, or
 * there are more than `maxChars`, of which no more are looked at, or it is not plain JSON.
 */
function countClean(value: unknown, rules: Rules, depth: number): number {
  if (typeof value === 'string')
    return value.length <= rules.maxChars && rules.text(value) === value ? value.length + 4 : Number.POSITIVE_INFINITY
  if (typeof value === 'number' || typeof value === 'boolean' || value === null) return 4
  if (typeof value !== 'object' || depth === 0) return Number.POSITIVE_INFINITY
  let chars = 4
  if (Array.isArray(value)) {
    for (const item of value) {
      chars += countClean(item, rules, depth - 1)
      if (chars > rules.maxChars) return Number.POSITIVE_INFINITY
    }
    return chars
  }
  if (!isPlain(value)) return Number.POSITIVE_INFINITY
  for (const name of Object.keys(value)) {
    const key = rules.key(name)
    if (key.isSecret || key.text !== name) return Number.POSITIVE_INFINITY
    chars += name.length + countClean(value[name], rules, depth - 1)
    if (chars > rules.maxChars) return Number.POSITIVE_INFINITY
  }
  return chars
}

function isPlain(value: object): value is Record<string, unknown> {
  return Object.getPrototypeOf(value) === Object.prototype
}

interface Copying extends Rules {
  readonly maxChars: number
  /** Characters that may still be copied. A few times the size wanted, so that large values do not cost their full size. */
  left: number
  /** At least `WINDOW`, and as long as the longest secret that is known. */
  readonly window: number
}

function copy(value: unknown, copying: Copying, depth: number): unknown {
  copying.left -= 4
  const reserve = Math.max(0, Math.min(RESERVE, copying.left >> 3))
  copying.left -= reserve
  const copied = copyWithin(value, copying, depth)
  copying.left += reserve
  return copied
}

function copyWithin(value: unknown, copying: Copying, depth: number): unknown {
  if (typeof value === 'string') return copyText(value, copying)
  if (typeof value === 'bigint') return copyText(String(value), copying)
  if (typeof value !== 'object' || value === null) return value
  if (JSON.isRawJSON(value)) return copyRaw(value, copying)
  if (value instanceof Date) return value.toJSON()
  if (value instanceof Uint8Array) return `…[+${value.length} bytes]`
  if (value instanceof Error) return { name: value.name, message: copyText(value.message, copying) }
  if (depth >= MAX_DEPTH) return Array.isArray(value) ? `…[+${value.length} items]` : `…[+${Object.keys(value).length} members]`
  return Array.isArray(value) ? copyArray(value, copying, depth) : copyObject(value, copying, depth)
}

function copyText(value: string, copying: Copying): string {
  // What is longer than all that is wanted is cut anyway: to what `fitJson` would leave of it, so that it is not searched, and pruned, in vain.
  const most = value.length > copying.maxChars ? copying.maxChars >> 1 : copying.maxChars
  const chars = Math.max(0, Math.min(most, copying.left))
  const isCut = value.length > chars + copying.window
  const redacted = copying.text(isCut ? value.slice(0, chars + copying.window) : value)
  const kept = isCut ? redacted.slice(0, -copying.window) : redacted
  copying.left -= Math.min(kept.length, chars)
  return cutText(kept, chars, isCut ? Math.max(0, Buffer.byteLength(value) - Buffer.byteLength(kept)) : 0)
}

/** A number kept as its source text (`parseExact`); one of very many digits is cut like a string. */
function copyRaw(value: object, copying: Copying): unknown {
  const source = JSON.stringify(value)
  if (source.length > MAX_KEY_CHARS) return copyText(source, copying)
  copying.left -= source.length
  return value
}

function copyArray(value: readonly unknown[], copying: Copying, depth: number): unknown[] {
  const copied: unknown[] = []
  for (const item of value) {
    if (copying.left <= 0) break
    copied.push(copy(item, copying, depth + 1))
  }
  if (copied.length < value.length) copied.push(`…[+${value.length - copied.length} items]`)
  return copied
}

function copyObject(value: object, copying: Copying, depth: number): unknown {
  const all = Object.entries(value)
  const copied: [string, unknown][] = []
  for (const [name, item] of all) {
    if (copying.left <= 0) break
    copying.left -= Math.min(name.length, MAX_KEY_CHARS)
    const key = copying.key(name)
    copied.push([key.text, key.isSecret && item !== undefined ? REDACTED : copy(item, copying, depth + 1)])
  }
  if (copied.length < all.length) copied.push(['…', `[+${all.length - copied.length} members]`])
  // Not by assignment: a member called __proto__ must become a member.
  return Object.fromEntries(copied)
}

function copyKey(key: string, text: (text: string) => string): string {
  return cutText(text(key.length > WINDOW ? key.slice(0, WINDOW) : key), MAX_KEY_CHARS)
}

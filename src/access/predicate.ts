import { AppError } from '../lib/errors.ts'
import { isSpelledAs } from '../lib/message-names.ts'
import type { Labels, Resource } from '../resources/envelope.ts'
import type { Identity } from '../resources/identity.ts'
import { compileExpression, Defaulting, type Evaluate, type ExpressionMode } from './expression.ts'

/** The part of an identity that conditions may read. */
export type Subject = Pick<Identity, 'name' | 'roles' | 'traits'>

const MAX_ARGUMENT_VALUES = 10_000
const MAX_ARGUMENT_DEPTH = 64
const MAX_CACHED = 1000

/**
 * `app_labels_expression` of a role: over `labels["k"]` (the empty text when there is none) and `user.spec.traits["t"]` (the
 * empty list), with `==`, `!=`, `&&`, `||`, `!`, `in`, contains, equals, has_prefix, regexp.match, regexp.replace, strings.upper,
 * strings.lower. Here regexp.match takes what patterns of roles are: a glob, or a regex between `^` and `$`.
 * Throws AppError when it is not valid, fails, or is no boolean.
 */
export function evaluateLabelsExpression(text: string, facts: { labels: Labels; identity: Subject }): boolean {
  return compiled(text, 'labels')({ labels: new Defaulting(Object.entries(facts.labels), ''), user: userOf(facts.identity) })
}

/**
 * `where` of a rule over administration: the same language over `user` and `resource` (kind, sub_kind, version, metadata.name,
 * metadata.description, metadata.labels). Without a resource every mention of it is an error. Throws AppError as above.
 */
export function evaluateWhere(text: string, facts: { identity: Subject; resource?: Resource | undefined }): boolean {
  const variables = { user: userOf(facts.identity), ...(facts.resource && { resource: resourceOf(facts.resource) }) }
  return compiled(text, 'where')(variables)
}

/**
 * `where` of an argument rule: CEL over `args` (the arguments of the call), `user` {name, roles, traits} and `server` {name, labels}.
 * A key that is not there is an error, unless asked for with has() or `in`; one that is there in another case too, or instead, always is.
 * Integers of the call are CEL ints, other numbers doubles.
 * Regexes (regexp.match, matches) are RE2 and are searched for anywhere in the text. Throws AppError as above, and
 * for arguments that are no object or hold more than 10,000 values.
 */
export function evaluateArgumentRule(
  text: string,
  facts: { args: unknown; user: Subject; server: { name: string; labels: Labels } },
): boolean {
  const { user, server } = facts
  return compiled(
    text,
    'argument',
  )({
    args: argumentsOf(facts.args),
    user: new Map<string, unknown>([
      ['name', user.name],
      ['roles', user.roles],
      ['traits', new Map(Object.entries(user.traits))],
    ]),
    server: new Map<string, unknown>([
      ['name', server.name],
      ['labels', new Map(Object.entries(server.labels))],
    ]),
  })
}

/**
 * `expression` of a rule of a workload identity: the language of `where` over `user` and `join`, the attributes of the caller. What is not there is an error,
 * unless asked for with has(). Throws AppError as above.
 */
export function evaluateWorkloadRule(text: string, attributes: Readonly<Record<string, unknown>>): boolean {
  const { user = {}, join = {} } = attributes
  return compiled(text, 'workload')({ user: asMaps(user), join: asMaps(join) })
}

/** What is wrong with an expression, in a sentence; undefined when it can be saved. */
export function checkExpression(text: string, mode: ExpressionMode): string | undefined {
  try {
    compiled(text, mode)
    return undefined
  } catch (thrown) {
    if (thrown instanceof AppError) return thrown.message
    throw thrown
  }
}

// A compiled expression follows from its text and mode alone and keeps nothing between evaluations; the cache is bounded.
const programs = new Map<string, Evaluate>()

function compiled(text: string, mode: ExpressionMode): Evaluate {
  const key = `${mode} ${text}`
  const known = programs.get(key)
  if (known) return known
  const evaluate = compileExpression(text, mode)
  if (programs.size >= MAX_CACHED) programs.clear()
  programs.set(key, evaluate)
  return evaluate
}

function userOf(identity: Subject): Map<string, unknown> {
  const traits = new Defaulting(Object.entries(identity.traits), [])
  return new Map<string, unknown>([
    ['metadata', new Map([['name', identity.name]])],
    [
      'spec',
      new Map<string, unknown>([
        ['roles', identity.roles],
        ['traits', traits],
      ]),
    ],
  ])
}

function resourceOf(resource: Resource): Map<string, unknown> {
  const { name, description, labels } = resource.metadata
  return new Map<string, unknown>([
    ['kind', resource.kind],
    ['sub_kind', resource.sub_kind ?? ''],
    ['version', resource.version],
    [
      'metadata',
      new Map<string, unknown>([
        ['name', name],
        ['description', description ?? ''],
        ['labels', new Defaulting(Object.entries(labels ?? {}), '')],
      ]),
    ],
  ])
}

/** Maps instead of objects, so that keys such as `constructor` are keys like any other; a call without arguments has none. */
function argumentsOf(args: unknown): Map<string, unknown> {
  if (args === undefined) return new Map()
  let values = 0
  const convert = (value: unknown, depth: number): unknown => {
    values += 1
    if (values > MAX_ARGUMENT_VALUES || depth > MAX_ARGUMENT_DEPTH)
      throw new AppError('invalid_argument', 'the arguments are too large for the rules over them')
    if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value
    if (Array.isArray(value)) return value.map((item) => convert(item, depth + 1))
    if (typeof value === 'object' && value !== null)
      return toCarefulMap(Object.entries(value).map(([key, item]) => [key, convert(item, depth + 1)]))
    return value
  }
  const converted = convert(args, 0)
  if (isMap(converted)) return converted
  throw new AppError('invalid_argument', 'the arguments are not an object')
}

/**
 * A map that says nothing about a key when there is another that differs from it in case only: a server that does not mind the case (Go's
 * encoding/json, .NET for the web) may take that one. It is a `Map` itself, since the language knows no other.
 */
function toCarefulMap(entries: readonly [string, unknown][]): Map<string, unknown> {
  const careful = new Map(entries)
  const plain = new Map(entries)
  const assertClear = (name: string): void => {
    for (const key of plain.keys())
      if (key !== name && key.length === name.length && isSpelledAs(name, key))
        throw new AppError('invalid_argument', `the argument ${JSON.stringify(key)} differs only in case from ${JSON.stringify(name)}`)
  }
  careful.get = (name) => {
    assertClear(name)
    return plain.get(name)
  }
  careful.has = (name) => {
    assertClear(name)
    return plain.has(name)
  }
  return careful
}

/** Maps instead of objects, so that keys such as `constructor` are keys like any other. */
function asMaps(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(asMaps)
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value
  if (typeof value !== 'object' || value === null) return value
  return new Map(Object.entries(value).map(([key, item]) => [key, asMaps(item)]))
}

function isMap(value: unknown): value is Map<string, unknown> {
  return value instanceof Map
}

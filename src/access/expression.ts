import { Environment, type ParseResult } from '@marcbachmann/cel-js'
import { AppError } from '../lib/errors.ts'
import { compileMatcher, replaceRegex, searchRegex } from './match.ts'

/** Where an expression stands decides what it may name and call. */
export type ExpressionMode = 'labels' | 'where' | 'argument' | 'workload'

export type Evaluate = (variables: Record<string, unknown>) => boolean

const MAX_BYTES = 4096
const LIMITS = { maxAstNodes: 2000, maxDepth: 64, maxListElements: 500, maxMapEntries: 100, maxCallArguments: 8 }
const LIST_MACROS = ['all', 'exists', 'exists_one', 'map', 'filter']

/**
 * A map that answers for keys it does not have, as labels and traits do in predicates of roles: a label nobody set is the empty text,
 * a trait nobody has the empty list.
 */
export class Defaulting<V> extends Map<string, V> {
  readonly #missing: V

  constructor(entries: Iterable<[string, V]>, missing: V) {
    super(entries)
    this.#missing = missing
  }

  override get(key: string): V {
    return super.get(key) ?? this.#missing
  }
}

/**
 * The expression, checked for syntax, names and types. Throws `invalid_argument` when it is no good (or over 4 KiB); the function
 * it returns throws `failed_precondition` when the evaluation fails or its result is not a boolean.
 * The cost of an evaluation is bounded: no recursion, no list macro inside another, no regex outside RE2.
 */
export function compileExpression(text: string, mode: ExpressionMode): Evaluate {
  const program = parse(text, mode)
  return (variables) => {
    let result: unknown
    try {
      result = program(variables)
    } catch (cause) {
      throw new AppError('failed_precondition', `expression ${quote(text)} could not be evaluated: ${firstLine(cause)}`, { cause })
    }
    if (typeof result === 'boolean') return result
    throw new AppError('failed_precondition', `expression ${quote(text)} is neither true nor false`)
  }
}

function parse(text: string, mode: ExpressionMode): ParseResult {
  if (Buffer.byteLength(text) > MAX_BYTES) throw new AppError('invalid_argument', `expression is longer than ${MAX_BYTES} bytes`)
  try {
    const program = ENVIRONMENTS[mode].parse(text)
    screen(program.ast, mode, false)
    const checked = program.check()
    if (!checked.valid) throw checked.error ?? new Error('it does not check')
    if (checked.type !== 'bool' && checked.type !== 'dyn') throw new Error(`it is a ${checked.type}, not a condition`)
    return program
  } catch (cause) {
    throw new AppError('invalid_argument', `expression ${quote(text)} is not valid: ${firstLine(cause)}`, { cause })
  }
}

/** Walks the parsed expression, refuses what is unbounded or would answer wrongly, and points `matches` at RE2. */
function screen(node: unknown, mode: ExpressionMode, insideMacro: boolean): void {
  if (Array.isArray(node)) {
    for (const part of node) screen(part, mode, insideMacro)
    return
  }
  if (typeof node !== 'object' || node === null || !('op' in node) || !('args' in node)) return
  if ((node.op !== 'call' && node.op !== 'rcall') || !Array.isArray(node.args)) return screen(node.args, mode, insideMacro)

  const call: unknown[] = node.args
  const [name, receiver, parameters] = node.op === 'call' ? [call[0], undefined, call[1]] : call
  if (name === 'bind') throw new Error('cel.bind is not supported')
  if (name === 'has' && mode !== 'argument' && mode !== 'workload')
    throw new Error('has() is not supported here: a missing label is "" and a missing trait an empty list')
  // The library's own `matches` runs JavaScript regexes, which a caller could stall.
  if (name === 'matches') call[0] = 'matches_re2'
  if (node.op === 'rcall' && (name === 'matches' || name === 'match')) checkLiteralPattern(name, parameters, mode)
  const isMacro = node.op === 'rcall' && LIST_MACROS.includes(String(name))
  if (isMacro && insideMacro) throw new Error(`${String(name)}() inside another list macro is not supported`)
  screen(receiver, mode, insideMacro)
  screen(parameters, mode, insideMacro || isMacro)
}

/** A bad pattern that stands in the expression is found when it is saved, not at the first call. */
function checkLiteralPattern(name: string, parameters: unknown, mode: ExpressionMode): void {
  const last: unknown = Array.isArray(parameters) ? parameters.at(-1) : undefined
  if (typeof last !== 'object' || last === null || !('op' in last) || !('args' in last)) return
  if (last.op !== 'value' || typeof last.args !== 'string') return
  if (name === 'match' && mode !== 'argument') compileMatcher(last.args)
  else searchRegex(last.args, '')
}

class RegexpNamespace {}
class StringsNamespace {}
const SYNC = { async: false }

/** Immutable once made: what each place of a role may name. */
const ENVIRONMENTS: Record<ExpressionMode, Environment> = {
  labels: predicates().registerVariable('labels', 'Defaulting').registerVariable('user', 'map'),
  where: predicates().registerVariable('user', 'map').registerVariable('resource', 'map'),
  workload: predicates().registerVariable('user', 'map').registerVariable('join', 'map'),
  argument: common()
    .registerVariable('args', 'map')
    .registerVariable('user', 'map')
    .registerVariable('server', 'map')
    .registerFunction(
      'RegexpNamespace.match(string, string): bool',
      (_self: unknown, text: string, regex: string) => searchRegex(regex, text),
      SYNC,
    )
    .registerFunction(
      'RegexpNamespace.match(list, string): bool',
      (_self: unknown, list: unknown[], regex: string) => strings(list).some((text) => searchRegex(regex, text)),
      SYNC,
    ),
}

function common(): Environment {
  return new Environment({ limits: LIMITS })
    .registerType('Defaulting', Defaulting)
    .registerType('RegexpNamespace', RegexpNamespace)
    .registerConstant('regexp', 'RegexpNamespace', new RegexpNamespace())
    .registerFunction('contains(list, dyn): bool', (list: unknown[], item: unknown) => list.includes(item), SYNC)
    .registerFunction('list.contains(dyn): bool', (list: unknown[], item: unknown) => list.includes(item), SYNC)
    .registerFunction('equals(dyn, dyn): bool', equals, SYNC)
    .registerFunction('has_prefix(string, string): bool', (text: string, prefix: string) => text.startsWith(prefix), SYNC)
    .registerFunction('string.matches_re2(string): bool', (text: string, regex: string) => searchRegex(regex, text), SYNC)
    .registerOperator('string in Defaulting', (key: string, map: Map<string, unknown>) => map.has(key))
}

/** Teleport's predicates take one text wherever they take a list, and their regexp.match speaks the pattern language of roles. */
function predicates(): Environment {
  const match = (list: unknown[], pattern: string) => strings(list).some(compileMatcher(pattern))
  const replace = (list: unknown[], pattern: string, by: string) => strings(list).flatMap((text) => replaceRegex(pattern, text, by) || [])
  const upper = (list: unknown[]) => strings(list).map((text) => text.toUpperCase())
  const lower = (list: unknown[]) => strings(list).map((text) => text.toLowerCase())
  return common()
    .registerType('StringsNamespace', StringsNamespace)
    .registerConstant('strings', 'StringsNamespace', new StringsNamespace())
    .registerFunction('contains(string, dyn): bool', (text: string, item: unknown) => text === item, SYNC)
    .registerFunction(
      'RegexpNamespace.match(string, string): bool',
      (_self: unknown, text: string, pattern: string) => match([text], pattern),
      SYNC,
    )
    .registerFunction(
      'RegexpNamespace.match(list, string): bool',
      (_self: unknown, list: unknown[], pattern: string) => match(list, pattern),
      SYNC,
    )
    .registerFunction(
      'RegexpNamespace.replace(string, string, string): list<string>',
      (_self: unknown, text: string, pattern: string, by: string) => replace([text], pattern, by),
      SYNC,
    )
    .registerFunction(
      'RegexpNamespace.replace(list, string, string): list<string>',
      (_self: unknown, list: unknown[], pattern: string, by: string) => replace(list, pattern, by),
      SYNC,
    )
    .registerFunction('StringsNamespace.upper(string): list<string>', (_self: unknown, text: string) => upper([text]), SYNC)
    .registerFunction('StringsNamespace.upper(list): list<string>', (_self: unknown, list: unknown[]) => upper(list), SYNC)
    .registerFunction('StringsNamespace.lower(string): list<string>', (_self: unknown, text: string) => lower([text]), SYNC)
    .registerFunction('StringsNamespace.lower(list): list<string>', (_self: unknown, list: unknown[]) => lower(list), SYNC)
}

/** Values of two types are not simply unequal: that is a mistake in the rule and must not let anybody through a `!equals`. */
function equals(a: unknown, b: unknown): boolean {
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((item, at) => equals(item, b[at]))
  if (typeof a !== typeof b || typeof a === 'object') throw new Error('equals() compares two values of the same type')
  return a === b
}

function strings(list: unknown[]): string[] {
  return list.map((item) => {
    if (typeof item !== 'string') throw new Error('a list of strings is needed')
    return item
  })
}

function firstLine(thrown: unknown): string {
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  return message.split('\n')[0] ?? ''
}

function quote(text: string): string {
  return JSON.stringify(text.length > 128 ? `${text.slice(0, 128)}…` : text)
}

import { argumentName, parseFlags } from './command-rows.ts'
import type { ArgumentRow, CommandRow, Invocation, Io, OptionRow } from './command-rows.ts'
import { AppError } from './errors.ts'
import { findNearest } from './nearest.ts'

type Value = string | boolean | readonly string[] | undefined

interface Resolved {
  value: Value
  given: boolean
}

/** What the command line itself says of a flag; undefined when it does not stand there. */
export type FindGiven = (row: OptionRow) => unknown

/**
 * The invocation of a command: each flag from the command line, else from the environment, else its default, checked against its
 * choices. Throws `invalid_argument` for what does not fit.
 */
export function resolveInvocation(
  row: CommandRow,
  globals: readonly OptionRow[],
  findGiven: FindGiven,
  values: readonly unknown[],
  io: Io,
): Invocation {
  const flags = new Map(
    [...globals, ...(row.options ?? [])].map((option) => [parseFlags(option.flags).long, resolve(option, findGiven(option), io)]),
  )
  const given = new Map((row.arguments ?? []).map((argument, index) => [argumentName(argument), checkArgument(argument, values[index])]))
  const flag = (name: string): Resolved => flags.get(name) ?? undeclared(row, name)
  const argument = (name: string): string[] => given.get(name) ?? undeclared(row, name)
  return {
    io,
    signal: io.signal ?? new AbortController().signal,
    argument: (name) => argument(name)[0],
    rest: (name) => argument(name),
    text(name) {
      const { value } = flag(name)
      return typeof value === 'string' ? value : undefined
    },
    flag: (name) => flag(name).value === true,
    list(name) {
      const { value } = flag(name)
      return Array.isArray(value) ? value.map(String) : []
    },
    isGiven: (name) => flag(name).given,
  }
}

function undeclared(row: CommandRow, name: string): never {
  throw new Error(`the command "${row.path}" declares no "${name}"`)
}

function resolve(row: OptionRow, given: unknown, io: Io): Resolved {
  const { long, takes } = parseFlags(row.flags)
  if (given !== undefined) return { value: checkChoices(row, readGiven(row, given), `--${long}`), given: true }
  for (const name of row.env ?? []) {
    const text = io.env[name]
    if (text) return { value: checkChoices(row, takes === 'nothing' ? readBoolean(text, name) : readGiven(row, text), name), given: true }
  }
  if (row.required) {
    const instead = row.env ? ` (or set ${row.env.join(' or ')})` : ''
    throw new AppError('invalid_argument', `the flag --${long} is required${instead}`)
  }
  return { value: row.default, given: false }
}

/** Commander gives strings, arrays of strings (flags that repeat), and booleans. */
function readGiven(row: OptionRow, given: unknown): Value {
  if (row.list) {
    const texts: unknown[] = Array.isArray(given) ? given : [given]
    return texts
      .flatMap((text) => (row.list === 'uncut' ? [String(text)] : String(text).split(',')))
      .map((item) => item.trim())
      .filter((item) => item !== '')
  }
  return typeof given === 'boolean' ? given : String(given)
}

const BOOLEANS: Readonly<Record<string, boolean>> = {
  1: true,
  true: true,
  yes: true,
  on: true,
  0: false,
  false: false,
  no: false,
  off: false,
}

function readBoolean(text: string, name: string): boolean {
  const lower = text.toLowerCase()
  const value = Object.hasOwn(BOOLEANS, lower) ? BOOLEANS[lower] : undefined
  if (value === undefined) throw new AppError('invalid_argument', `${name} must be true or false, not ${JSON.stringify(text)}`)
  return value
}

function checkChoices(row: OptionRow, value: Value, name: string): Value {
  for (const each of Array.isArray(value) ? value : [value]) if (typeof each === 'string') checkChoice(row.choices, each, name)
  return value
}

function checkArgument(row: ArgumentRow, value: unknown): string[] {
  const texts: string[] = (Array.isArray(value) ? value : value === undefined ? [] : [value]).map(String)
  for (const text of texts) checkChoice(row.choices, text, argumentName(row))
  return texts
}

function checkChoice(choices: readonly string[] | undefined, text: string, name: string): void {
  if (!choices || choices.includes(text)) return
  const nearest = findNearest(text, choices)
  const hint = nearest === undefined ? '' : ` (did you mean ${nearest}?)`
  throw new AppError('invalid_argument', `${name} must be one of ${choices.join(', ')}, not ${JSON.stringify(text)}${hint}`)
}

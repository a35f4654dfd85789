import type { Writable } from 'node:stream'

/** A flag as a row: parsing, environment, help and documentation all read it. */
export interface OptionRow {
  /** `-f, --format <format>` takes a value, `--color [when]` may, `--insecure` does not; `--[no-]insecure` can be turned off too. */
  flags: string
  description: string
  /** Names of environment variables that stand in for the flag; the first that is set and not empty counts. */
  env?: readonly string[]
  choices?: readonly string[]
  default?: string | boolean | readonly string[]
  /** May be repeated, and each value may be several with commas between, unless it is `uncut`; read it with `list`. */
  list?: true | 'uncut'
  /** Wrong usage without it (the environment counts). */
  required?: true
  hidden?: true
}

export interface ArgumentRow {
  /** `<name>` is required, `[name]` is not, `[labels...]` takes all that follow. */
  name: string
  description: string
  choices?: readonly string[]
}

/** A command as a row; without `load` it is a group that only has a summary. */
export interface CommandRow {
  /** `mcp ls`; groups on the way need no row of their own. */
  path: string
  summary: string
  /** Paragraphs under the first line of the help. */
  description?: string
  /** Other names of the last word. */
  aliases?: readonly string[]
  arguments?: readonly ArgumentRow[]
  options?: readonly OptionRow[]
  /** Each runs as printed, with a `# remark` or without. */
  examples?: readonly string[]
  hidden?: true
  /** Imports the module of the action, only when the command runs. */
  load?: () => Promise<CommandModule>
}

export interface CommandModule {
  /** Gives the exit code; nothing is 0. Throws AppErrors for `runProgram` to render. */
  run(invocation: Invocation): Promise<number | void>
}

/** What the outside world is to a command. */
export interface Io {
  stdout: Writable
  stderr: Writable
  env: Readonly<Record<string, string | undefined>>
  /** Whether standard output is a terminal; `columns` is its width. */
  isTTY: boolean
  columns?: number | undefined
  /** Aborted when the user interrupts. */
  signal?: AbortSignal
}

/** What was asked for. Names are those of the rows, without dashes and brackets; an unknown one is a mistake in the code and throws. */
export interface Invocation {
  io: Io
  signal: AbortSignal
  /** An argument that is not repeated. */
  argument(name: string): string | undefined
  /** All values of a `name...` argument. */
  rest(name: string): string[]
  /** The value of a flag that takes one. */
  text(flag: string): string | undefined
  /** Whether a flag is on. */
  flag(flag: string): boolean
  /** The values of a `list` flag. */
  list(flag: string): string[]
  /** Whether a flag comes from the command line or the environment rather than from its default. */
  isGiven(flag: string): boolean
}

export interface Program {
  name: string
  version: string
  description: string
  /** Flags of every command, accepted before and after its name. */
  options: readonly OptionRow[]
  commands: CommandRow[]
  /** Paths that the program's name alone lists: the commands of a first day. */
  firstDay: readonly string[]
  /** Where to read more. */
  docs?: string | undefined
}

export interface Flags {
  short: string | undefined
  /** Without dashes. */
  long: string
  takes: 'nothing' | 'value' | 'maybe'
  negatable: boolean
}

/** The parts of an OptionRow's `flags`; throws on anything that is not as its documentation says. */
export function parseFlags(flags: string): Flags {
  const match = /^(?:-(\w), )?--(\[no-\])?([a-z][a-z0-9-]*)(?: (<[^<>]+>|\[[^[\]]+\]))?$/.exec(flags)
  const long = match?.[3]
  if (!match || long === undefined) throw new Error(`malformed flags: ${flags}`)
  const takes = match[4] === undefined ? 'nothing' : match[4].startsWith('<') ? 'value' : 'maybe'
  return { short: match[1], long, takes, negatable: match[2] !== undefined }
}

/** The bare name of an ArgumentRow. */
export function argumentName(row: ArgumentRow): string {
  return row.name.replace(/^[<[]|(\.\.\.)?[>\]]$/g, '')
}

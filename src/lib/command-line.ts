import { setTimeout as delay } from 'node:timers/promises'
import { Command, CommanderError, Option } from 'commander'
import { renderExitCodes, renderFirstDay, renderHelp } from './command-help.ts'
import { parseFlags } from './command-rows.ts'
import type { CommandRow, Io, Invocation, OptionRow, Program } from './command-rows.ts'
import { resolveInvocation } from './command-values.ts'
import { AppError, CODES, toAppError } from './errors.ts'
import { findNearest } from './nearest.ts'
import { escapeControls, sanitizeTerminal } from './output.ts'
import { describeSystemError } from './system-error.ts'

export interface ProgramRow {
  name: string
  version: string
  description: string
  options?: readonly OptionRow[]
  firstDay?: readonly string[]
  docs?: string
}

/** A program without commands but `help`; `-d, --[no-]debug`, `-h, --help` and `--version` are there already. */
export function createProgram({ name, version, description, options = [], firstDay = [], docs }: ProgramRow): Program {
  const program: Program = { name, version, description, options: [...options, DEBUG_OPTION], commands: [], firstDay, docs }
  command(program, {
    path: 'help',
    summary: 'Show the help of a command, or what exit codes mean',
    arguments: [{ name: '[command...]', description: 'Words of a command, or "exit-codes"' }],
    examples: [`${name} help exit-codes`],
    load: async () => ({ run: async (invocation) => showHelp(program, invocation) }),
  })
  return program
}

/** Adds a command. Two commands of one path, or a flag that the program or the command has already, are mistakes in the code and throw. */
export function command(program: Program, row: CommandRow): void {
  if (program.commands.some((other) => other.path === row.path)) throw new Error(`two commands are called "${row.path}"`)
  const taken = new Set<string>(['-h', '--help'])
  for (const option of [...program.options, ...(row.options ?? [])]) {
    const { short, long } = parseFlags(option.flags)
    for (const flag of [`--${long}`, ...(short === undefined ? [] : [`-${short}`])]) {
      if (taken.has(flag)) throw new Error(`"${row.path}" would have two flags ${flag}`)
      taken.add(flag)
    }
  }
  program.commands.push(row)
}

/**
 * Runs the command that `argv` (without the program itself) names and gives the exit code: the action's own, else that of the error in
 * `CODES`, 130 when interrupted (an action that does not end by itself then is left after `interruptGraceMs`). Errors
 * go to standard error as `ERROR: …`, or with `--format json` as `{"error": {code, message, …details}}`; nothing is thrown.
 */
export async function runProgram(program: Program, argv: readonly string[], io: Io, { interruptGraceMs = 5000 } = {}): Promise<number> {
  const run: Run = { io, argv, path: '', json: false, debug: false, code: 0 }
  const ended = new AbortController()
  // Timers of ours keep no process alive: a command that waits with nothing else open would end as if it had succeeded.
  const alive = setInterval(() => {}, 60_000)
  try {
    await Promise.race([
      buildTree(program, run).parseAsync([...argv], { from: 'user' }),
      interruption(run, interruptGraceMs, ended.signal),
      brokenPipe(io),
    ])
    return run.code
  } catch (thrown) {
    if (thrown instanceof CommanderError) return endParsing(program, thrown, run)
    if (io.signal?.aborted && isCancellation(thrown)) return CODES.cancelled.exit
    const error = describeSystemError(thrown) ?? toAppError(thrown)
    io.stderr.write(renderError(error, run))
    return CODES[error.code].exit
  } finally {
    clearInterval(alive)
    ended.abort()
  }
}

/** Where signals of the process arrive. */
export interface SignalSource {
  on(event: 'SIGINT' | 'SIGTERM' | 'SIGUSR1', listener: () => void): unknown
  off(event: 'SIGINT' | 'SIGTERM' | 'SIGUSR1', listener: () => void): unknown
}

/** One Ctrl-C comes twice where a launcher passes on what the terminal has sent to us as well. */
const SAME_INTERRUPT_MS = 500

/** Aborts at the first SIGINT or SIGTERM; the second ends the process, as it does without us. */
export function interruptSignal(source: SignalSource): AbortSignal {
  const controller = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    const hear = (): void => {
      if (controller.signal.aborted) return void source.off(name, hear)
      controller.abort()
      // It stays on: between taking one listener off and putting another on, the second signal would end the process.
      setTimeout(() => source.off(name, hear), SAME_INTERRUPT_MS).unref()
    }
    source.on(name, hear)
  }
  return controller.signal
}

const DEBUG_OPTION: OptionRow = { flags: '-d, --[no-]debug', description: 'Show the causes and stacks of errors' }

/** What one run has come to know on its way. */
interface Run {
  io: Io
  argv: readonly string[]
  /** The command that commander was in. */
  path: string
  /** How errors are shown. */
  json: boolean
  debug: boolean
  code: number
}

function buildTree(program: Program, run: Run): Command {
  const nodes = new Map<string, Command>()
  const root = prepare(new Command(program.name), '')
  root.version(program.version, '--version').helpCommand(false)
  for (const option of program.options) addOption(root, option)
  for (const row of program.commands) fill(find(row.path, row.hidden), row)
  return root

  function find(path: string, hidden = false): Command {
    if (path === '') return root
    const known = nodes.get(path)
    if (known) return known
    const cut = path.lastIndexOf(' ')
    const created = prepare(find(path.slice(0, Math.max(0, cut))).command(path.slice(cut + 1), { hidden }), path)
    nodes.set(path, created)
    return created
  }

  function prepare(node: Command, path: string): Command {
    return node
      .helpCommand(false)
      .configureOutput({ writeOut: (text) => void run.io.stdout.write(text), writeErr: () => {}, outputError: () => {} })
      .configureHelp({ formatHelp: () => renderHelp(program, path) })
      .exitOverride((error) => {
        run.path = path
        throw error
      })
  }

  function fill(node: Command, row: CommandRow): void {
    node.aliases([...(row.aliases ?? [])])
    for (const argument of row.arguments ?? []) node.argument(argument.name, argument.description)
    for (const option of row.options ?? []) addOption(node, option)
    const { load } = row
    if (!load) return
    node.action(async () => {
      const options = [...program.options, ...(row.options ?? [])]
      run.json = wantsJson(run.argv, options)
      run.debug = root.getOptionValue('debug') === true
      const findGiven = (option: OptionRow): unknown => findGivenValue(node, option)
      const invocation = resolveInvocation(row, program.options, findGiven, node.processedArgs, run.io)
      if (options.some((option) => parseFlags(option.flags).long === 'format')) run.json = invocation.text('format') === 'json'
      const { run: action } = await load()
      const code = await action(invocation)
      run.code = code ?? (run.io.signal?.aborted ? CODES.cancelled.exit : 0)
    })
  }
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}

function addOption(node: Command, row: OptionRow): void {
  const { long, negatable } = parseFlags(row.flags)
  const option = new Option(row.flags.replace('[no-]', ''), row.description)
  if (row.list) option.argParser((text, earlier: unknown) => [...(isTexts(earlier) ? earlier : []), text])
  node.addOption(option)
  if (negatable) node.addOption(new Option(`--no-${long}`))
}

/** A command that has both an action and commands below it takes the flags that they share: they are looked for on the way up. */
function findGivenValue(node: Command, row: OptionRow): unknown {
  const name = new Option(row.flags.replace('[no-]', '')).attributeName()
  for (let at: Command | null = node; at; at = at.parent) if (at.getOptionValueSource(name) === 'cli') return at.getOptionValue(name)
  return undefined
}

async function showHelp(program: Program, { io, rest }: Invocation): Promise<void> {
  const path = rest('command').join(' ')
  if (path === 'exit-codes') return void io.stdout.write(renderExitCodes())
  const known = path === '' || program.commands.some((row) => row.path === path || row.path.startsWith(`${path} `))
  if (!known)
    throw new AppError('invalid_argument', `there is no command "${path}"`, {
      details: { fix: [`${program.name} --help lists all commands`] },
    })
  io.stdout.write(renderHelp(program, path))
}

/** Commander stops by throwing: after help and version, and for wrong usage. */
function endParsing(program: Program, stop: CommanderError, run: Run): number {
  const { io, path } = run
  if (stop.code === 'commander.help') {
    if (path === '') io.stdout.write(renderFirstDay(program))
    else io.stderr.write(renderHelp(program, path))
    return path === '' ? 0 : CODES.invalid_argument.exit
  }
  if (stop.exitCode === 0) return 0
  const row = program.commands.find((candidate) => candidate.path === path)
  const whole = [program.name, path].join(' ').trimEnd()
  const options = [...program.options, ...(row?.options ?? [])]
  const error = new AppError('invalid_argument', renderUsageFault(stop, options), {
    details: { fix: [`${whole} --help shows what it accepts`] },
  })
  io.stderr.write(renderError(error, { ...run, json: wantsJson(run.argv, options) }))
  return CODES.invalid_argument.exit
}

/** What commander says. Flags it compares with their values still on, and one hyphen is none of its own: we look for the nearest flag. */
function renderUsageFault({ code, message }: CommanderError, options: readonly OptionRow[]): string {
  const said = message.replace(/^error: /, '')
  const word = code === 'commander.unknownOption' ? /^unknown option '--?([^'=]{2,64})/.exec(said)?.[1] : undefined
  if (word === undefined) return said
  const flags = [...options.map((row) => parseFlags(row.flags).long), 'help']
  const nearest = findNearest(word, flags) ?? flags.find((flag) => flag.startsWith(word))
  return `${said.replace(/\n.*$/s, '')}${nearest === undefined ? '' : `\n(Did you mean --${nearest}?)`}`
}

/** Whether the command line asks for JSON, as far as it can be told when it was not understood. */
function wantsJson(argv: readonly string[], options: readonly OptionRow[]): boolean {
  const short = options.map((row) => parseFlags(row.flags)).find((flags) => flags.long === 'format')?.short
  return argv.some((word, index) => {
    if (word === '--format=json' || (short !== undefined && word === `-${short}json`)) return true
    return word === 'json' && (argv[index - 1] === '--format' || (short !== undefined && argv[index - 1] === `-${short}`))
  })
}

function renderError(error: AppError, { json, debug }: Run): string {
  const { code, message, details } = error
  // Assigned twice: first in the order of keys, and not to be replaced by a detail of that name.
  if (json) return `${escapeControls(JSON.stringify({ error: Object.assign({ code, message }, details, { code, message }) }))}\n`
  const lines = [`ERROR: ${message}`, ...fixesOf(error).map((fix) => `  fix: ${fix}`)]
  if (debug) lines.push(...renderCauses(error))
  return `${sanitizeTerminal(lines.join('\n'))}\n`
}

function fixesOf(error: AppError): string[] {
  const fix = error.details?.['fix']
  if (Array.isArray(fix)) return fix.filter((each) => typeof each === 'string')
  return error.code === 'internal' ? ['repeat the command with --debug to see the cause'] : []
}

/** The stacks of an error and of what caused it. */
function renderCauses(error: AppError): string[] {
  const stacks: string[] = []
  for (let each: unknown = error; each !== undefined && stacks.length < 10; each = each instanceof Error ? each.cause : undefined) {
    stacks.push(`${stacks.length === 0 ? '' : 'caused by: '}${each instanceof Error ? (each.stack ?? each.message) : JSON.stringify(each)}`)
  }
  return stacks
}

function isCancellation(thrown: unknown): boolean {
  return thrown instanceof Error && (thrown.name === 'AbortError' || (thrown instanceof AppError && thrown.code === 'cancelled'))
}

/** Settles some time after an interruption, for actions that do not end by themselves then. */
async function interruption(run: Run, graceMs: number, ended: AbortSignal): Promise<void> {
  const { signal } = run.io
  await new Promise<void>((resolve) => {
    if (signal?.aborted) resolve()
    else signal?.addEventListener('abort', () => resolve(), { once: true })
  })
  await delay(graceMs, undefined, { signal: ended })
  run.code = CODES.cancelled.exit
}

/** Settles when nobody reads any more (`tsh ls | head -1`): that ends the command, but is no failure. */
function brokenPipe({ stdout }: Io): Promise<void> {
  return new Promise((resolve, reject) => {
    // Stays: what is still to be written may fail after we have returned.
    stdout.on('error', (cause: NodeJS.ErrnoException) => {
      if (cause.code === 'EPIPE') resolve()
      else reject(new AppError('failed_precondition', `cannot write to standard output: ${cause.message}`, { cause }))
    })
  })
}

import { argumentName, parseFlags } from './command-rows.ts'
import type { CommandRow, OptionRow, Program } from './command-rows.ts'
import { CODES } from './errors.ts'

/** The help of a command, a group or (empty path) the program: what it is, usage, examples, then arguments, commands and flags. */
export function renderHelp(program: Program, path: string): string {
  const row = program.commands.find((candidate) => candidate.path === path)
  const whole = path === '' ? program.name : `${program.name} ${path}`
  const summary = path === '' ? program.description : row?.summary
  const children = childrenOf(program, path)
  const global = [...program.options, HELP_OPTION, ...(path === '' ? [VERSION_OPTION] : [])]
  return layOut([
    [summary ? `${whole} — ${summary}` : whole],
    row?.description ? row.description.split('\n') : [],
    section('Usage', [usageOf(whole, row, children.length > 0)]),
    section(
      'Aliases',
      (row?.aliases ?? []).map((alias) => whole.replace(/\S+$/, alias)),
    ),
    section('Examples', row?.examples ?? []),
    section(
      'Arguments',
      columns(
        (row?.arguments ?? []).map((argument) => [argumentName(argument), argument.description + remark('one of', argument.choices)]),
      ),
    ),
    section('Commands', columns(children)),
    section('Flags', columns((row?.options ?? []).filter(isVisible).map(describeOption))),
    section(row?.options?.length ? 'Global flags' : 'Flags', columns(global.filter(isVisible).map(describeOption))),
    program.docs ? [`Learn more: ${program.docs}`] : [],
  ])
}

/** What the program's name alone shows: the commands of a first day and where the others are. */
export function renderFirstDay(program: Program): string {
  if (program.firstDay.length === 0) return renderHelp(program, '')
  const rows = program.firstDay.map((path): [string, string] => [path, program.commands.find((row) => row.path === path)?.summary ?? ''])
  return layOut([
    [`${program.name} — ${program.description}`],
    section('Begin with', columns(rows.map(([path, summary]) => [`${program.name} ${path}`, summary]))),
    [`All commands: ${program.name} --help`, ...(program.docs ? [`Learn more: ${program.docs}`] : [])],
  ])
}

/** The table of exit codes, from the table of errors. */
export function renderExitCodes(): string {
  const rows = new Map<number, string[]>([
    [0, ['done']],
    [7, ['a check found problems']],
  ])
  for (const [code, { exit }] of Object.entries(CODES)) rows.set(exit, [...(rows.get(exit) ?? []), code])
  const sorted = [...rows].sort(([left], [right]) => left - right)
  return layOut([section('Exit codes', columns(sorted.map(([exit, codes]) => [String(exit), codes.join(', ')])))])
}

const HELP_OPTION: OptionRow = { flags: '-h, --help', description: 'Show this help' }
const VERSION_OPTION: OptionRow = { flags: '--version', description: 'Show the version' }

function layOut(blocks: readonly (readonly string[])[]): string {
  const filled = blocks.filter((block) => block.length > 0)
  return `${filled.map((block) => block.join('\n')).join('\n\n')}\n`
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [title, ...lines.map((line) => `  ${line}`)]
}

function columns(rows: readonly (readonly [term: string, text: string])[]): string[] {
  const width = Math.max(0, ...rows.map(([term]) => term.length))
  return rows.map(([term, text]) => `${term.padEnd(width)}  ${text}`.trimEnd())
}

function usageOf(whole: string, row: CommandRow | undefined, isGroup: boolean): string {
  if (isGroup && !row?.load) return `${whole} COMMAND [flags]`
  return [whole, '[flags]', ...(row?.arguments ?? []).map((argument) => argument.name)].join(' ')
}

/** The next words after a path, each with its summary, in the order of the rows; `help` comes last. */
function childrenOf(program: Program, path: string): [string, string][] {
  const found = new Map<string, string>()
  const depth = path === '' ? 0 : path.split(' ').length
  for (const row of program.commands) {
    if (row.hidden || (path !== '' && !row.path.startsWith(`${path} `))) continue
    const words = row.path.split(' ')
    const word = words[depth]
    if (word === undefined) continue
    if (words.length === depth + 1) found.set(word, row.summary)
    else if (!found.has(word)) found.set(word, '')
  }
  return [...found].sort(([left], [right]) => Number(left === 'help') - Number(right === 'help'))
}

function isVisible(row: OptionRow): boolean {
  return !row.hidden
}

const MAX_CHOICES_CHARS = 60

function describeOption(row: OptionRow): [string, string] {
  const { short } = parseFlags(row.flags)
  // The choices are what the value's name would only hint at; very many of them would push all descriptions off the screen.
  const choices = row.choices?.join('|') ?? ''
  const isLong = choices.length > MAX_CHOICES_CHARS
  const flags = choices === '' || isLong ? row.flags : row.flags.replace(/<[^<>]+>$/, choices)
  const oneOf = isLong ? remark('one of', row.choices) : ''
  const fallback = Array.isArray(row.default)
    ? row.default
    : row.default === undefined || row.default === false
      ? []
      : [String(row.default)]
  return [short ? flags : `    ${flags}`, row.description + oneOf + remark('default', fallback) + remark('env', row.env)]
}

function remark(name: string, values: readonly string[] | undefined): string {
  return values && values.length > 0 ? ` (${name}: ${values.join(', ')})` : ''
}

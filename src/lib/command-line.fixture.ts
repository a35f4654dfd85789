import { Writable } from 'node:stream'
import { expect } from 'vitest'
import { command, createProgram, runProgram } from './command-line.ts'
import type { CommandRow, Invocation, Io, Program } from './command-rows.ts'

type Action = (invocation: Invocation) => Promise<number | void>

/** A program with one command of each sort, all of which run the action; without one they may not even load it. */
export function build(action?: Action): Program {
  const program = createProgram({
    name: 'tsh',
    version: '1.2.3',
    description: 'reach MCP servers',
    docs: 'https://docs.example.com',
    firstDay: ['mcp ls'],
    options: [
      { flags: '--proxy <address>', description: 'Proxy address', env: ['SALLYPORT_PROXY', 'TELEPORT_PROXY'] },
      { flags: '-i, --identity <file>', description: 'Identity file' },
      { flags: '--[no-]insecure', description: 'Trust any server', env: ['TSH_INSECURE'] },
    ],
  })
  const load: CommandRow['load'] = async () => {
    if (!action) throw new Error('the action was loaded')
    return { run: action }
  }
  command(program, {
    path: 'mcp ls',
    summary: 'List MCP servers',
    description: 'Those you may use.',
    aliases: ['list'],
    arguments: [{ name: '[labels...]', description: 'Only servers with these labels' }],
    options: [
      {
        flags: '-f, --format <format>',
        description: 'Output format',
        choices: ['text', 'json', 'yaml'],
        default: 'text',
        env: ['TSH_FORMAT'],
      },
      { flags: '--roles <names>', description: 'Roles', list: true, choices: ['a', 'b', 'c'], env: ['TSH_ROLES'] },
    ],
    examples: ['tsh mcp ls --format json   # for programs'],
    load,
  })
  command(program, { path: 'mcp connect', summary: 'Connect', hidden: true, arguments: [{ name: '<name>', description: 'Server' }], load })
  command(program, {
    path: 'sign',
    summary: 'Sign',
    options: [
      { flags: '--out <file>', description: 'File', required: true, env: ['TSH_OUT'] },
      {
        flags: '--by <key>',
        description: 'Key',
        choices: ['rsa', 'ecdsa', 'ed25519', 'ed448'].flatMap((kind) => [kind, `${kind}-with-hardware`]),
      },
    ],
    load,
  })
  return program
}

export async function run(
  line: string,
  outside: Partial<Io> = {},
  action?: Action,
): Promise<{ code: number; stdout: string; stderr: string }> {
  const written = { stdout: '', stderr: '' }
  const sink = (name: 'stdout' | 'stderr'): Writable =>
    new Writable({
      write(chunk, _encoding, done) {
        written[name] += String(chunk)
        done()
      },
    })
  const io: Io = { stdout: sink('stdout'), stderr: sink('stderr'), env: {}, isTTY: false, ...outside }
  const code = await runProgram(
    build(action),
    line.split(' ').filter((word) => word !== ''),
    io,
    { interruptGraceMs: 10 },
  )
  return { code, ...written }
}

export async function see(line: string, look: (invocation: Invocation) => unknown, env: Record<string, string> = {}): Promise<unknown> {
  let seen: unknown
  const { code, stderr } = await run(line, { env }, async (invocation) => {
    seen = look(invocation)
  })
  expect([code, stderr]).toEqual([0, ''])
  return seen
}

export function fail(error: Error, line = 'mcp ls'): ReturnType<typeof run> {
  return run(line, {}, () => Promise.reject(error))
}

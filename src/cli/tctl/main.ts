import { createProgram, interruptSignal, runProgram } from '../../lib/command-line.ts'
import type { OptionRow, Program } from '../../lib/command-rows.ts'
import { addAuditCommands } from './audit-commands.ts'
import type { TctlIo } from './context.ts'
import { addMachineCommands } from './machine-commands.ts'
import { addPeopleCommands } from './people-commands.ts'
import { addResourceCommands } from './resource-commands.ts'

/** Runs `tctl`; the exit code. */
export async function main(argv: readonly string[], io: TctlIo): Promise<number> {
  const signal = io.signal ?? (io.signals ? interruptSignal(io.signals) : undefined)
  const outside: TctlIo = signal ? { ...io, signal } : io
  return await runProgram(createTctl(outside), argv, outside)
}

const GLOBALS: readonly OptionRow[] = [
  {
    flags: '-c, --config <file>',
    description: 'A sallyport.yaml of this machine; its data_dir counts',
    env: ['SALLYPORT_CONFIG_FILE', 'TELEPORT_CONFIG_FILE'],
  },
  { flags: '--data-dir <directory>', description: 'Data directory of an Auth Service on this machine' },
  {
    flags: '--auth-server <address>',
    description: 'Proxy or Auth Service to talk to, HOST:PORT',
    env: ['SALLYPORT_AUTH_SERVER', 'TELEPORT_AUTH_SERVER'],
  },
  { flags: '--proxy <address>', description: 'The same', env: ['SALLYPORT_PROXY', 'TELEPORT_PROXY'], hidden: true },
  {
    flags: '-i, --identity <file>',
    description: 'Use this identity file; needs --auth-server',
    env: ['SALLYPORT_IDENTITY_FILE', 'TELEPORT_IDENTITY_FILE'],
  },
  { flags: '--[no-]insecure', description: 'Do not check who the server is' },
]

function createTctl(io: TctlIo): Program {
  const program = createProgram({
    name: 'tctl',
    version: io.version ?? 'dev',
    description: 'Administer a Sallyport cluster',
    options: GLOBALS,
    firstDay: ['status', 'users add', 'create', 'get', 'audit tail'],
  })
  addResourceCommands(program, io)
  addPeopleCommands(program, io)
  addMachineCommands(program, io)
  addAuditCommands(program, io)
  return program
}

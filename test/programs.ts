import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { eventually, within } from './wait.ts'

/** How long a program may take to start and say so, or to do what it was started for: on a busy machine the start alone takes ten seconds. */
const START_MS = 50_000

export const ROOT = join(import.meta.dirname, '..')

/** The launcher of a command, in `bin`. */
export function bin(name: 'sallyport' | 'tsh' | 'tctl' | 'tbot'): string {
  return join(ROOT, 'bin', name)
}

export interface Ended {
  /** Undefined when a signal ended it. */
  code: number | undefined
  stdout: string
  stderr: string
}

export interface Started {
  pid: number
  stdout(): string
  stderr(): string
  kill(signal: 'SIGTERM' | 'SIGINT' | 'SIGKILL' | 'SIGUSR1'): void
  ended: Promise<Ended>
  /** Waits for a text on standard output. */
  saw(text: string): Promise<void>
}

export interface ProgramOptions {
  /** Beside PATH and HOME; our own environment is not passed on. */
  env?: Readonly<Record<string, string>>
  cwd?: string
}

/** A program with the Node of the tests first on its PATH and an environment of its own. */
export function startProgram(command: string, args: readonly string[], { env = {}, cwd = ROOT }: ProgramOptions = {}): Started {
  const path = `${dirname(process.execPath)}:${process.env['PATH'] ?? ''}`
  const child: ChildProcess = spawn(command, args, { cwd, env: { PATH: path, HOME: tmpdir(), ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  let [stdout, stderr] = ['', '']
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve({ code: code ?? undefined, stdout, stderr }))
  })
  return {
    pid: child.pid ?? 0,
    stdout: () => stdout,
    stderr: () => stderr,
    kill: (signal) => void child.kill(signal),
    ended,
    saw: async (text) => {
      await eventually(
        () => `"${text}" from ${command}; it wrote ${stdout}${stderr}`,
        () => {
          if (child.exitCode !== null) throw new Error(`${command} ended with ${child.exitCode}: ${stdout}${stderr}`)
          return stdout.includes(text) || undefined
        },
        START_MS,
      )
    },
  }
}

/** Runs a program to its end. */
export async function runProgram(command: string, args: readonly string[], options: ProgramOptions = {}): Promise<Ended> {
  const started = startProgram(command, args, options)
  try {
    const what = (): string => `the end of ${command} ${args.join(' ')}; it wrote ${started.stdout()}${started.stderr()}`
    return await within(what, started.ended, START_MS)
  } finally {
    started.kill('SIGKILL')
  }
}

/** A directory that `dispose` removes. */
export async function temporaryDirectory(): Promise<{ path: string; dispose(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'sallyport-test-'))
  return { path, dispose: () => rm(path, { recursive: true, force: true }) }
}

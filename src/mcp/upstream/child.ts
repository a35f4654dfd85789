import { spawn } from 'node:child_process'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { constants as system } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { AppError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import type { Launch } from '../hosting/confine.ts'
import { isDirectory, isExecutable } from '../hosting/places.ts'
import type { Tree } from '../hosting/trees.ts'
import { type StderrOptions, watchStderr } from './child-stderr.ts'

/** A running program with everything it started in its process group. */
export interface Child {
  readonly pid: number
  /**
   * Queues bytes for its stdin.
   * @throws AppError resource_exhausted when 16 MiB wait already, unavailable when its stdin is closed.
   */
  write(bytes: Uint8Array): void
  /** Where its stdout goes; set it in the turn that started the child. */
  onOutput(listener: (chunk: Buffer) => void): void
  /** Settles when the process is reaped and what it wrote was read. Never rejects. */
  readonly exited: Promise<Exit>
  /** Ends it: stdin closed, SIGINT to the group, SIGKILL after `graceMs`. Resolves when the whole group is gone. Safe to call again. */
  stop(graceMs?: number): Promise<void>
  /** SIGKILL to the group, without waiting: for the end of our own process. */
  killNow(): void
}

export interface Exit {
  /** `code 1` or `signal SIGKILL`. */
  reason: string
  /** It ended with code 0, or by the SIGINT we send. */
  clean: boolean
  /** We were ending it. */
  isAsked: boolean
  /** The last line it wrote to stderr that is more than a frame of a stack, if any. */
  lastStderr: string | undefined
}

/** The children alive; the composition root calls `killAllNow` when its process ends. */
export interface ChildRegistry {
  add(child: Child): void
  remove(child: Child): void
  readonly count: number
  killAllNow(): void
}

export interface ChildOptions extends StderrOptions {
  command: string
  args: readonly string[]
  launch: Launch
  /** All of its environment. */
  env: Readonly<Record<string, string>>
  cwd: string
  /** Where it is kept with all it starts; ended with it. */
  tree?: Tree | undefined
  /** Milliseconds after which it is ended. */
  wallTimeMs?: number | undefined
  registry: ChildRegistry
  log: Logger
}

export function createChildRegistry(): ChildRegistry {
  const children = new Set<Child>()
  return {
    add: (child) => children.add(child),
    remove: (child) => children.delete(child),
    get count() {
      return children.size
    },
    killAllNow() {
      for (const child of children) child.killNow()
    },
  }
}

/**
 * Starts a program without a shell, in a process group of its own.
 *
 * @throws AppError failed_precondition when the command or the directory cannot be found, or the program not be started.
 */
export async function startChild(options: ChildOptions): Promise<Child> {
  const { command, args, launch, env, cwd } = options
  if (!(await isDirectory(cwd)))
    throw new AppError('failed_precondition', `the working directory ${JSON.stringify(cwd)} does not exist on the agent's machine`)
  if (!(await isExecutable(command, env['PATH'] ?? '', cwd))) throw new AppError('failed_precondition', notFound(command))
  const [program = command, ...rest] = [...launch.prefix, command, ...args]
  let spawned: ChildProcessWithoutNullStreams
  try {
    spawned = spawn(program, rest, { cwd, env, stdio: ['pipe', 'pipe', 'pipe'], detached: true, shell: false })
    await started(spawned)
  } catch (cause) {
    throw new AppError('failed_precondition', `command ${JSON.stringify(command)} cannot be started: ${reasonOf(cause)}`, { cause })
  }
  return supervise(spawned, options)
}

function notFound(command: string): string {
  const hint = /^[^\s/]+\s/.test(command) ? ': it is one program, and the words after it belong into spec.mcp.args' : ''
  return `command ${JSON.stringify(command)} was not found, or is not executable, on the agent's machine${hint}`
}

const DEFAULT_GRACE_MS = 10_000
const MAX_QUEUED_BYTES = 16 * 1024 * 1024
/** What is larger is not copied. */
const ONE_BUFFER_BYTES = 64 * 1024
/** How long what is left of a group may take to vanish after SIGKILL. */
const GROUP_END_MS = 500
/** How long stdout may stay open after the process ended, or the process after it closed stdout. */
const LINGER_MS = 1000

function supervise(spawned: ChildProcessWithoutNullStreams, options: ChildOptions): Child {
  const { log, registry, tree, launch } = options
  const pid = spawned.pid ?? 0
  const stderr = watchStderr(spawned, options)
  let stopping: Promise<void> | undefined
  let isGone = false
  // Once the group is gone its number may be given to somebody else.
  const signal = (name: NodeJS.Signals): void => void (isGone || signalGroup(pid, name))

  const kill = (): void => {
    signal('SIGKILL')
    tree?.killNow()
  }
  let endedBy: string | undefined
  const onWallTime = (): void => {
    endedBy = 'its wall time was over'
    void child.stop()
  }
  const wallTimer = options.wallTimeMs === undefined ? undefined : setTimeout(onWallTime, options.wallTimeMs).unref()

  const exited = waitForExit(spawned, kill).then((end): Exit => {
    clearTimeout(wallTimer)
    const name = end.signal ?? (launch.isWrapped ? signalOf(end.code) : undefined)
    const clean = end.code === 0 || name === 'SIGINT' || end.code === 128 + 2
    return {
      reason: endedBy ?? (name ? `signal ${name}` : `code ${end.code}`),
      clean,
      isAsked: stopping !== undefined,
      lastStderr: stderr.telling(),
    }
  })
  const gone = exited.then(async () => {
    const isTreeGone = (await tree?.end()) ?? true
    if (!(await waitForGroup(pid)) || !isTreeGone)
      log.debug('processes of a stopped MCP server are left as zombies: nothing here reaps them', { pgid: pid })
    isGone = true
    registry.remove(child)
  })

  const stop = async (graceMs: number): Promise<void> => {
    spawned.stdin.end()
    signal('SIGINT')
    const timer = setTimeout(kill, graceMs)
    await exited
    clearTimeout(timer)
    await gone
  }

  const child: Child = {
    pid,
    exited,
    write: createWriter(spawned),
    onOutput: (listener) => spawned.stdout.on('data', listener),
    stop: (graceMs = DEFAULT_GRACE_MS) => (stopping ??= stop(graceMs)),
    killNow: () => kill(),
  }
  watchPipes(spawned, child, log)
  registry.add(child)
  return child
}

/** Lines written in one turn of the event loop leave in one system call, and as one buffer, which costs less than a list of small ones. */
function createWriter(spawned: ChildProcessWithoutNullStreams): (bytes: Uint8Array) => void {
  const { stdin } = spawned
  let pending: Uint8Array[] = []
  let pendingBytes = 0
  const leave = (): void => {
    const [parts, bytes] = [pending, pendingBytes]
    pending = []
    pendingBytes = 0
    if (bytes <= ONE_BUFFER_BYTES) return void stdin.write(Buffer.concat(parts, bytes))
    stdin.cork()
    for (const part of parts) stdin.write(part)
    stdin.uncork()
  }
  return (bytes) => {
    if (!stdin.writable) throw new AppError('unavailable', 'the MCP server takes no more input', { origin: 'upstream' })
    const waiting = stdin.writableLength + pendingBytes
    if (waiting > 0 && waiting + bytes.length > MAX_QUEUED_BYTES)
      throw new AppError('resource_exhausted', 'the MCP server does not read its input: 16 MiB of messages wait for it already')
    if (pending.length === 0) process.nextTick(leave)
    pending.push(bytes)
    pendingBytes += bytes.length
  }
}

/** A process that closed a pipe is of no use any more; one that only ends closes them too, hence the delay. */
function watchPipes(spawned: ChildProcessWithoutNullStreams, child: Child, log: Logger): void {
  const onBroken = (pipe: string) => (): void => {
    const timer = setTimeout(() => {
      if (spawned.exitCode !== null || spawned.signalCode !== null) return
      log.debug(`an MCP server closed its ${pipe}: stopping it`, { pid: child.pid })
      void child.stop()
    }, LINGER_MS)
    timer.unref()
  }
  spawned.stdin.on('error', onBroken('stdin'))
  spawned.stdout.on('error', onBroken('stdout'))
  spawned.stdout.on('end', onBroken('stdout'))
  spawned.stderr.on('error', () => undefined)
  spawned.on('error', (error) => log.debug('a signal to an MCP server failed', { pid: child.pid, error: error.message }))
}

/** The signal that a shell or sandbox around the program tells of by its own exit code. */
function signalOf(code: number | null): string | undefined {
  return code === null ? undefined : Object.entries(system.signals).find(([, number]) => code === 128 + number)?.[0]
}

interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
}

/** Waits for the process and for the rest of its output; whatever stays in its group is killed as soon as the process has ended. */
function waitForExit(spawned: ChildProcessWithoutNullStreams, killGroup: () => void): Promise<Ended> {
  return new Promise((resolveExit) => {
    spawned.once('exit', (code, signal) => {
      killGroup()
      // A process outside the group may hold the pipes open for ever.
      const timer = setTimeout(() => {
        for (const stream of [spawned.stdin, spawned.stdout, spawned.stderr]) stream.destroy()
      }, LINGER_MS)
      spawned.once('close', () => {
        clearTimeout(timer)
        resolveExit({ code, signal })
      })
    })
  })
}

async function waitForGroup(pgid: number): Promise<boolean> {
  for (let waited = 0; signalGroup(pgid, 0); waited += 10) {
    if (waited >= GROUP_END_MS) return false
    await delay(10)
  }
  return true
}

/** False when the group has no members any more. */
function signalGroup(pgid: number, signal: NodeJS.Signals | 0): boolean {
  // kill(-0) and kill(-1) would mean our own group and everybody.
  if (pgid <= 1) return false
  try {
    return process.kill(-pgid, signal)
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

function started(spawned: ChildProcessWithoutNullStreams): Promise<void> {
  return new Promise((resolveStart, reject) => {
    spawned.once('error', reject)
    spawned.once('spawn', () => {
      spawned.off('error', reject)
      resolveStart()
    })
  })
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? cause.code : 'unknown reason'
}

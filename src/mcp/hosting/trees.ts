import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { access, mkdir, readFile, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { AppError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import type { RunCommand } from './run-command.ts'
import { readCgroups } from './cgroups.ts'
import type { Place } from './confine.ts'

/** Keeps each program with all it starts, wherever that goes, so that it can be ended as a whole: control groups of Linux. */
export interface Trees {
  /** What the groups can limit. */
  readonly limits: Place['limits']
  /** @throws AppError unavailable when there can be no group, or its limits cannot be set. */
  create(limits: TreeLimits): Promise<Tree>
  /** Ends what is left. The agent's own death does the same. */
  close(): Promise<void>
}

export interface TreeLimits {
  memoryBytes?: number | undefined
  processes?: number | undefined
}

/** One program with all it starts. */
export interface Tree extends Place {
  /** SIGKILL to every member, without waiting. */
  killNow(): void
  /** Kills what is left, and forgets the group. False when members were still there after half a second. */
  end(): Promise<boolean>
}

export interface TreesOptions {
  run: RunCommand
  /** Tells the groups of one agent from those of others; letters and digits. */
  token: string
  log: Logger
}

/**
 * Finds out whether this process may make control groups that can be killed (cgroup v2, Linux 5.14); undefined when not.
 * A shell that only waits kills them all when this process dies, however it dies.
 */
export async function openTrees({ run, token, log }: TreesOptions): Promise<Trees | undefined> {
  const [cgroup, mountinfo] = await Promise.all(
    ['/proc/self/cgroup', '/proc/self/mountinfo'].map((path) => readFile(path, 'utf8').catch(() => '')),
  )
  const { unified, memory, pids } = readCgroups(cgroup ?? '', mountinfo ?? '')
  const name = `sallyport-${token}`
  const root = unified && (await makeGroup(join(unified, name)))
  if (!unified || !root || !(await canJoin(root, run))) {
    if (root) await removeGroup(root)
    return undefined
  }
  // Refused with EBUSY where the agent itself is a member of that group, and with ENOENT where the controllers are not there.
  for (const directory of [unified, root])
    for (const controller of ['+memory', '+pids'])
      await writeFile(join(directory, 'cgroup.subtree_control'), controller).catch(() => undefined)
  const controllers = (await readFile(join(root, 'cgroup.subtree_control'), 'utf8').catch(() => '')).trim().split(' ')
  const [memoryRoot, pidsRoot] = await Promise.all([
    controllers.includes('memory') || !memory ? undefined : makeGroup(join(memory, name)),
    controllers.includes('pids') || !pids ? undefined : makeGroup(join(pids, name)),
  ])
  const roots = { root, memory: memoryRoot, pids: pidsRoot }
  const limits = {
    memory: controllers.includes('memory') || memoryRoot !== undefined,
    processes: controllers.includes('pids') || pidsRoot !== undefined,
  }
  return new CgroupTrees(roots, limits, log)
}

interface Roots {
  root: string
  /** With cgroup v1 only. */
  memory: string | undefined
  pids: string | undefined
}

class CgroupTrees implements Trees {
  readonly limits: Place['limits']
  readonly #roots: Roots
  readonly #log: Logger
  readonly #watcher: ChildProcess
  #count = 0

  constructor(roots: Roots, limits: Place['limits'], log: Logger) {
    this.#roots = roots
    this.#log = log
    this.limits = limits
    this.#watcher = startWatcher(
      Object.values(roots).filter((path) => path !== undefined),
      log,
    )
  }

  async create(limits: TreeLimits): Promise<Tree> {
    const { root, memory, pids } = this.#roots
    const name = String(++this.#count)
    const directories = [root, memory, pids].flatMap((path) => (path === undefined ? [] : [join(path, name)]))
    try {
      for (const directory of directories) await mkdir(directory)
      if (limits.memoryBytes !== undefined) await limitMemory(join(root, name), memory && join(memory, name), limits.memoryBytes)
      if (limits.processes !== undefined) await writeFile(join(pids ?? root, name, 'pids.max'), String(limits.processes))
    } catch (cause) {
      for (const directory of directories) await removeGroup(directory)
      throw new AppError('unavailable', 'the agent cannot make a control group for an MCP server: see its log', { cause })
    }
    return this.#treeOf(directories)
  }

  #treeOf(directories: readonly string[]): Tree {
    const [own = ''] = directories
    let ending: Promise<boolean> | undefined
    const killNow = (): void => {
      try {
        writeFileSync(join(own, 'cgroup.kill'), '1')
      } catch (error) {
        this.#log.debug('a control group could not be killed', { path: own, error: String(error) })
      }
    }
    const end = async (): Promise<boolean> => {
      killNow()
      const isEmpty = await waitUntilEmpty(own)
      for (const directory of directories) await removeGroup(directory)
      return isEmpty
    }
    return {
      entries: directories.map((directory) => join(directory, 'cgroup.procs')),
      limits: this.limits,
      killNow,
      end: () => (ending ??= end()),
    }
  }

  async close(): Promise<void> {
    this.#watcher.removeAllListeners('exit')
    this.#watcher.ref()
    this.#watcher.stdin?.end()
    if (this.#watcher.exitCode === null) await new Promise((resolve) => this.#watcher.once('close', resolve))
  }
}

/** Killing takes a moment, and a group with members cannot be removed: tried for five seconds. */
const WATCH = `trap '' INT TERM HUP
read -r _
echo 1 > "$1/cgroup.kill"
for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25; do
  left=
  for group; do rmdir "$group"/*/ "$group" 2>/dev/null; [ -d "$group" ] && left=1; done
  [ -n "$left" ] || exit 0
  sleep 0.2
done`

/** Reads from a pipe that only this process has the other end of. */
function startWatcher(groups: readonly string[], log: Logger): ChildProcess {
  const env = { PATH: '/usr/local/bin:/usr/bin:/bin' }
  const watcher = spawn('/bin/sh', ['-c', WATCH, 'sallyport-watch', ...groups], {
    env,
    cwd: '/',
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  const onLost = (why: string): void => log.warn('nothing ends MCP servers any more if this process is killed', { why })
  watcher.on('error', (error) => onLost(error.message))
  watcher.on('exit', (code, signal) => onLost(`its watcher ended (${signal ?? code})`))
  watcher.stdin.on('error', () => undefined)
  watcher.unref()
  return watcher
}

async function makeGroup(path: string): Promise<string | undefined> {
  return mkdir(path).then(
    () => path,
    () => undefined,
  )
}

/** A program that has joined once will be able to again. */
async function canJoin(root: string, run: RunCommand): Promise<boolean> {
  const trial = join(root, 'trial')
  try {
    await access(join(root, 'cgroup.kill'))
    await mkdir(trial)
    const { code } = await run('/bin/sh', ['-c', 'echo $$ > "$1"', 'sh', join(trial, 'cgroup.procs')])
    return code === 0
  } catch {
    return false
  } finally {
    await waitUntilEmpty(trial)
    await removeGroup(trial)
  }
}

async function limitMemory(unified: string, v1: string | undefined, bytes: number): Promise<void> {
  if (v1) return writeFile(join(v1, 'memory.limit_in_bytes'), String(bytes))
  await writeFile(join(unified, 'memory.max'), String(bytes))
  // Not there on machines without swap.
  await writeFile(join(unified, 'memory.swap.max'), '0').catch(() => undefined)
  await writeFile(join(unified, 'memory.oom.group'), '1')
}

const END_MS = 500

async function waitUntilEmpty(group: string): Promise<boolean> {
  for (let waited = 0; ; waited += 10) {
    const events = await readFile(join(group, 'cgroup.events'), 'utf8').catch(() => 'populated 0')
    if (events.includes('populated 0')) return true
    if (waited >= END_MS) return false
    await delay(10)
  }
}

/** What cannot be removed now goes when the agent ends. */
async function removeGroup(path: string): Promise<void> {
  await rmdir(path).catch(() => undefined)
}

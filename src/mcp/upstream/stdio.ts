import { parseDuration } from '../../lib/duration.ts'
import { AppError } from '../../lib/errors.ts'
import type { App } from '../../resources/app.ts'
import type { HealthRecord } from '../hosting/health.ts'
import { startHosted } from '../hosting/start.ts'
import type { HostDeps } from '../hosting/start.ts'
import { WarmPool } from '../hosting/warm-pool.ts'
import type { Child, Exit } from './child.ts'
import { createStderrTail } from './stderr-tail.ts'
import { createChannel } from './stdio-channel.ts'
import type { Channel } from './stdio-channel.ts'
import { STDIO_LIMITS } from './stdio-limits.ts'
import type { StdioLimits } from './stdio-limits.ts'
import { createRunner, openAlone } from './stdio-shared.ts'
import { rehearse, type Rehearsed } from './rehearsal.ts'
import { openWarm } from './stdio-warm.ts'
import type { OpenOptions, Upstream, UpstreamSession } from './upstream.ts'

export interface StdioDeps extends HostDeps {
  limits?: Partial<StdioLimits>
  /** Told of processes that end unasked; a server that fails again and again is left alone for a while. */
  health?: HealthRecord | undefined
  /** Milliseconds of a clock that only goes forward; default: that of the process. */
  now?: () => number
}

/**
 * An MCP server that is a program. Each conversation has a process of its own, and a modern one gets another when that dies; or, with
 * `lifecycle: shared`, all have the same.
 *
 * `open` fails with `failed_precondition` when the program cannot be started as its host user, `resource_exhausted` when too many run.
 */
export function createStdioUpstream(app: App, deps: StdioDeps): Upstream {
  const limits = { ...STDIO_LIMITS, ...deps.limits }
  const tail = createStderrTail()
  const sessions = new Set<UpstreamSession>()
  const running = createRunning(app, deps, limits, tail.push)
  const source = createSource(app, deps, limits, running)

  return {
    isModernOnly: source.isShared,
    async open(options) {
      const opened = await source.open(options)
      const forget = (): boolean => sessions.delete(session)
      const session: UpstreamSession = {
        send: (message, signal) => opened.send(message, signal),
        listen: (headers, signal) => opened.listen(headers, signal),
        ended: opened.ended,
        externalId: undefined,
        close: () => opened.close().finally(forget),
      }
      if (running.isClosed) {
        // While the process was starting.
        await opened.close()
        running.check()
      }
      sessions.add(session)
      void opened.ended.then(forget)
      return session
    },
    stderrTail: tail.lines,
    async close() {
      running.refuse()
      await Promise.all(sessions.values().map((session) => session.close()))
      await source.close()
      await running.close()
    },
  }
}

/** Where conversations come from, by the server's lifecycle. */
interface Source {
  isShared: boolean
  open(options: OpenOptions): Promise<Pick<UpstreamSession, 'send' | 'listen' | 'ended' | 'close'>>
  close(): Promise<void>
}

function createSource(app: App, deps: StdioDeps, limits: StdioLimits, running: Running): Source {
  const { lifecycle, restart = 'on_failure', idle_stop, warm = 0 } = app.spec.mcp ?? {}
  const { log, now = () => performance.now() } = deps
  const server = app.metadata.name
  const isShared = lifecycle === 'shared'
  const idleMs = idle_stop === undefined ? undefined : parseDuration(idle_stop)
  const toChannel = (child: Child, era: OpenOptions['era']): Channel => createChannel({ child, server, era, limits, log, isShared, idleMs })
  if (isShared) {
    const start = async (): Promise<Channel> => toChannel(await running.start('all callers'), 'modern')
    const runner = createRunner({ server, start, limits, now, restart })
    if (restart === 'always')
      runner.ready().catch((error: unknown) => log.warn('a shared MCP server could not be started', { server, error: String(error) }))
    return {
      isShared,
      async open({ era }) {
        if (era === 'legacy') throw notModern(server)
        running.check()
        await runner.ready()
        return runner.converse()
      },
      close: () => runner.close(),
    }
  }
  const startSpare = (): Promise<Child> => running.start('nobody yet')
  const rehearseIn = (child: Child, handshake: string): Rehearsed =>
    rehearse(handshake, createChannel({ child, server, era: 'legacy', limits, log, idleMs, isSpare: true }))
  const spares = { start: startSpare, rehearse: rehearseIn, maxAgeMs: MAX_SPARE_MS, backoffMs, server, log }
  const pool = warm > 0 ? new WarmPool({ ...spares, size: warm }) : undefined
  return {
    isShared,
    async open({ era, caller, purpose, words }) {
      const startChild = async (): Promise<Child> => running.start(caller.name, purpose, await words?.env())
      const check = (): void => {
        running.check()
        if (purpose !== 'health_check') checkHealth(server, deps.health)
      }
      const start = async (): Promise<Channel> => {
        check()
        // What may be the death of a program is nothing for a spare.
        const spare = purpose === undefined ? pool?.take(undefined) : undefined
        return toChannel(spare?.child ?? (await startChild()), era)
      }
      if (era === 'modern') return openAlone({ server, start, limits, now })
      if (!pool || pool.isEmpty || purpose !== undefined) return start()
      check()
      return openWarm({ server, pool, start: startChild, toChannel: (child) => toChannel(child, era) })
    },
    close: async () => pool?.close(),
  }
}

const MAX_SPARE_MS = 3_600_000

/** One second, doubling to one minute. */
function backoffMs(failures: number): number {
  return Math.min(60_000, 1000 * 2 ** Math.min(failures - 1, 6))
}

interface Running {
  readonly isClosed: boolean
  /** @throws AppError unavailable once nothing may start any more. */
  check(): void
  /** @throws as `startHosted`, and AppError resource_exhausted when as many run already as may. */
  start(caller: string, purpose?: OpenOptions['purpose'], env?: Readonly<Record<string, string>>): Promise<Child>
  refuse(): void
  /** Ends what is left. */
  close(): Promise<void>
}

/** The processes of one server, until nothing is left of them. */
function createRunning(app: App, deps: StdioDeps, limits: StdioLimits, onStderr: (line: string) => void): Running {
  const server = app.metadata.name
  const children = new Set<Child>()
  let count = 0
  let isClosed = false
  const check = (): void => {
    if (isClosed) throw new AppError('unavailable', `MCP server "${server}" is no longer served here`)
  }
  return {
    get isClosed() {
      return isClosed
    },
    check,
    async start(caller, purpose, env) {
      check()
      if (count >= limits.maxChildren)
        throw new AppError(
          'resource_exhausted',
          `MCP server "${server}" has ${count} processes already: close sessions that are not needed`,
        )
      count++
      try {
        const child = await startHosted(app, deps, { caller, env, onStderr })
        children.add(child)
        void child.exited
          .then((exit) => {
            if (!exit.clean && !exit.isAsked && purpose !== 'era_probe') deps.health?.crashed(exitReason(exit), purpose === 'health_check')
            return child.stop()
          })
          .then(() => {
            count--
            children.delete(child)
          })
        if (isClosed) void child.stop()
        check()
        return child
      } catch (thrown) {
        if (!isClosed) count--
        throw thrown
      }
    },
    refuse: () => void (isClosed = true),
    async close() {
      await Promise.all(children.values().map((child) => child.stop(limits.stopGraceMs)))
    },
  }
}

function exitReason({ reason, lastStderr }: Exit): string {
  return lastStderr ? `exited (${reason}): ${lastStderr}` : `exited (${reason})`
}

/** @throws AppError unavailable while a server that keeps failing is left alone. */
function checkHealth(server: string, health: HealthRecord | undefined): void {
  const waitMs = health?.waitMs() ?? 0
  if (waitMs === 0) return
  const words = `failed ${health?.failures} times in a row (${health?.reason}): it is started again in ${Math.ceil(waitMs / 1000)} s at the latest`
  throw new AppError('unavailable', `MCP server "${server}" ${words}`)
}

function notModern(server: string): AppError {
  const why = 'a process that speaks an older revision keeps the state of one client'
  return new AppError(
    'failed_precondition',
    `MCP server "${server}" has lifecycle: shared, but does not speak MCP 2026-07-28; ${why}: set lifecycle: per_session`,
  )
}

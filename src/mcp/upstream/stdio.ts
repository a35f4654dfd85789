import { AppError } from '../../lib/errors.ts'
import type { App } from '../../resources/app.ts'
import { startHosted } from '../hosting/start.ts'
import type { HostDeps } from '../hosting/start.ts'
import type { Child } from './child.ts'
import { createStderrTail } from './stderr-tail.ts'
import { createChannel } from './stdio-channel.ts'
import type { Channel } from './stdio-channel.ts'
import { STDIO_LIMITS } from './stdio-limits.ts'
import type { StdioLimits } from './stdio-limits.ts'
import { openShared } from './stdio-shared.ts'
import type { OpenOptions, Upstream, UpstreamSession } from './upstream.ts'

export interface StdioDeps extends HostDeps {
  limits?: Partial<StdioLimits>
  /** Milliseconds of a clock that only goes forward; default: that of the process. */
  now?: () => number
}

/**
 * An MCP server that is a program. Each conversation has a process of its own; a modern one gets another when that dies.
 *
 * `open` fails with `failed_precondition` when the program cannot be started as its host user, `resource_exhausted` when too many run.
 */
export function createStdioUpstream(app: App, deps: StdioDeps): Upstream {
  const limits = { ...STDIO_LIMITS, ...deps.limits }
  const tail = createStderrTail()
  const sessions = new Set<UpstreamSession>()
  const server = app.metadata.name
  const running = new Set<Child>()
  let children = 0
  let isClosed = false

  async function startChannel(options: OpenOptions): Promise<Channel> {
    if (isClosed) throw notServed(server)
    if (children >= limits.maxChildren)
      throw new AppError(
        'resource_exhausted',
        `MCP server "${server}" has ${children} processes already: close sessions that are not needed`,
      )
    children++
    const child = await startHosted(app, deps, options.caller.name, tail.push).catch((error: unknown) => {
      children--
      throw error
    })
    running.add(child)
    void child.exited
      .then(() => child.stop())
      .then(() => {
        children--
        running.delete(child)
      })
    return createChannel({ child, server, era: options.era, limits, log: deps.log })
  }

  return {
    async open(options) {
      const opened = await (options.era === 'legacy'
        ? startChannel(options)
        : openShared({ server, start: () => startChannel(options), limits, now: deps.now ?? (() => performance.now()) }))
      const { send, listen, ended, close } = opened
      const forget = (): boolean => sessions.delete(session)
      const session: UpstreamSession = { send, listen, ended, externalId: undefined, close: () => close().finally(forget) }
      if (isClosed) {
        // While the process was starting.
        await close()
        throw notServed(server)
      }
      sessions.add(session)
      void ended.then(forget)
      return session
    },
    stderrTail: tail.lines,
    async close() {
      isClosed = true
      await Promise.all(sessions.values().map((session) => session.close()))
      await Promise.all(running.values().map((child) => child.stop(limits.stopGraceMs)))
    },
  }
}

function notServed(server: string): AppError {
  return new AppError('unavailable', `MCP server "${server}" is no longer served here`)
}

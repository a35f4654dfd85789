import { AppError, toAppError } from '../../lib/errors.ts'
import type { Channel } from './stdio-channel.ts'
import type { StdioLimits } from './stdio-limits.ts'
import type { Reply, UpstreamSession } from './upstream.ts'

export interface SharedOptions {
  server: string
  start: () => Promise<Channel>
  limits: Pick<StdioLimits, 'maxStarts' | 'startsMs'>
  /** Milliseconds of a clock that only goes forward. */
  now: () => number
}

/**
 * A modern conversation: all its requests share one process. When that dies, what was under way fails, and the next request starts another
 * (MCP 2026-07-28, basic/transports/stdio); a server that dies again and again is left alone for a while. So it never ends by itself.
 */
export async function openShared({ server, start, limits, now }: SharedOptions): Promise<UpstreamSession> {
  const budget = createBudget(limits, now)
  /** Those whose process may still be there. */
  const channels = new Set<Channel>()
  let current: Channel | undefined
  let starting: Promise<Channel> | undefined
  let failure: AppError | undefined
  let closed: AppError | undefined

  const begin = async (): Promise<Channel> => {
    const waitMs = budget.take()
    if (waitMs > 0) throw tooManyStarts(current?.dead ?? failure, limits, waitMs)
    current = undefined
    const channel = await start().catch((thrown: unknown) => {
      failure = toAppError(thrown)
      throw thrown
    })
    if (closed) {
      await channel.close()
      throw closed
    }
    channels.add(channel)
    void channel.ended.then(() => channels.delete(channel))
    current = channel
    return channel
  }
  const renew = (): Promise<Channel> => (starting ??= begin().finally(() => (starting = undefined)))

  await renew()
  return {
    externalId: undefined,
    ended: new Promise(() => undefined),
    async send(message, signal) {
      if (closed) throw closed
      if (current && !current.dead) return current.send(message, signal)
      // A process that starts now would not know what a notification is about.
      if (message.kind === 'notification') return { kind: 'accepted' }
      return (await renew()).send(message, signal)
    },
    async listen() {
      if (closed) throw closed
      return NOT_OFFERED
    },
    async close() {
      closed ??= new AppError('cancelled', `the session with MCP server "${server}" was closed`)
      // Whoever waits for the start is told when it fails.
      const started = starting?.then(noop, noop)
      await Promise.all([started, ...[...channels].map((channel) => channel.close())])
    },
  }
}

function noop(): void {}

/** What streamable HTTP answers to GET when it offers no such stream. */
const NOT_OFFERED: Extract<Reply, { kind: 'refused' }> = {
  kind: 'refused',
  status: 405,
  bytes: Buffer.from('{"jsonrpc":"2.0","error":{"code":-32000,"message":"this server offers no stream here"}}'),
  contentType: 'application/json',
}

/** At most `maxStarts` in any `startsMs`. */
function createBudget({ maxStarts, startsMs }: SharedOptions['limits'], now: () => number): { take(): number } {
  let taken: number[] = []
  return {
    /** Takes one, or says in how many milliseconds there will be one. */
    take() {
      const at = now()
      taken = taken.filter((then) => at - then < startsMs)
      const [oldest] = taken
      if (oldest !== undefined && taken.length >= maxStarts) return oldest + startsMs - at
      taken.push(at)
      return 0
    },
  }
}

function tooManyStarts(last: AppError | undefined, { maxStarts, startsMs }: SharedOptions['limits'], waitMs: number): AppError {
  const [window, wait] = [startsMs, waitMs].map((ms) => Math.ceil(ms / 1000))
  const words = `${last?.message}; it is started ${maxStarts} times in ${window} s at most: try again in ${wait} s`
  return new AppError('unavailable', words, { origin: 'upstream', cause: last })
}

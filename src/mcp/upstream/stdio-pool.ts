import { AppError } from '../../lib/errors.ts'
import { cancelledIdOf } from './incoming.ts'
import type { Channel } from './stdio-channel.ts'
import type { StdioLimits } from './stdio-limits.ts'
import type { Outgoing, UpstreamSession } from './upstream.ts'

/** Starts a process; `onIdle` is called each time its last request is over. */
export type StartChannel = (onIdle: (channel: Channel) => void) => Promise<Channel>

/**
 * A modern conversation: a few processes, each request in one that holds no other of the same id. It ends by itself when the last
 * process does.
 */
export async function openPool(server: string, start: StartChannel, limits: StdioLimits): Promise<UpstreamSession> {
  const members = createMembers(start, limits)
  let over: AppError | undefined
  const ended = Promise.withResolvers<string>()

  const endIfEmpty = (reason: string): void => {
    if (over || members.count > 0) return
    over = new AppError('unavailable', reason, { origin: 'upstream' })
    ended.resolve(reason)
  }
  const join = (channel: Channel): void => {
    members.all.add(channel)
    void channel.ended.then((reason) => {
      members.remove(channel)
      endIfEmpty(reason)
    })
  }

  const sendRequest: UpstreamSession['send'] = async (message, signal) => {
    const id = message.id ?? ''
    const free = members.all.values().find((channel) => !channel.holds(id))
    if (free) return free.send(message, signal)
    if (members.count >= limits.maxPool && !members.retireSpent())
      throw new AppError('resource_exhausted', `request id ${id} is in use ${limits.maxPool} times already: use another`)
    const fresh = await members.create().catch((error: unknown) => {
      endIfEmpty(`MCP server "${server}" could not be started again`)
      throw error
    })
    if (over) {
      await fresh.close()
      throw over
    }
    // Nobody else may take it before it holds this id.
    const reply = fresh.send(message, signal)
    join(fresh)
    return reply
  }

  join(await members.create())
  return {
    externalId: undefined,
    ended: ended.promise,
    async send(message, signal) {
      if (over) throw over
      if (message.kind === 'request') return sendRequest(message, signal)
      const channel = members.pickFor(message)
      return channel ? channel.send(message, signal) : { kind: 'accepted' }
    },
    async listen(headers, signal) {
      const [first] = members.all
      if (!first) throw over ?? new AppError('unavailable', `MCP server "${server}" is being started`)
      return first.listen(headers, signal)
    },
    async close() {
      over ??= new AppError('cancelled', `the session with MCP server "${server}" was closed`)
      await members.close()
    },
  }
}

interface Members {
  readonly all: Set<Channel>
  /** Those that are being started included. */
  readonly count: number
  /** Starts one; it belongs to `all` only when it is put there. */
  create(): Promise<Channel>
  remove(channel: Channel): void
  /** Makes room by ending one that does nothing: it holds ids only because it may still answer requests given up long ago. */
  retireSpent(): boolean
  /** Where a notification goes: a cancellation to the process that works on the request. */
  pickFor(message: Outgoing): Channel | undefined
  close(): Promise<void>
}

function createMembers(start: StartChannel, { idleMs }: StdioLimits): Members {
  const all = new Set<Channel>()
  const timers = new Map<Channel, NodeJS.Timeout>()
  const ending = new Set<Promise<void>>()
  let starting = 0

  const remove = (channel: Channel): void => {
    all.delete(channel)
    clearTimeout(timers.get(channel))
    timers.delete(channel)
  }
  const retire = (channel: Channel): void => {
    remove(channel)
    const gone = channel.close().finally(() => ending.delete(gone))
    ending.add(gone)
  }

  /** The last one stays; spare ones go after a while. */
  const onIdle = (channel: Channel): void => {
    clearTimeout(timers.get(channel))
    if (!all.has(channel)) return
    const timer = setTimeout(() => {
      if (all.size > 1 && all.has(channel) && channel.inFlight === 0) retire(channel)
    }, idleMs)
    timers.set(channel, timer.unref())
  }

  return {
    all,
    remove,
    get count() {
      return all.size + starting
    },
    async create() {
      starting++
      try {
        return await start(onIdle)
      } finally {
        starting--
      }
    },
    retireSpent() {
      const spent = all.values().find((channel) => channel.inFlight === 0)
      if (spent) retire(spent)
      return spent !== undefined
    },
    pickFor(message) {
      const id = message.method === 'notifications/cancelled' ? cancelledIdOf(message.bytes) : undefined
      const [first] = all
      return (id && all.values().find((channel) => channel.holds(id))) || first
    },
    async close() {
      for (const channel of all) retire(channel)
      await Promise.all(ending)
    },
  }
}

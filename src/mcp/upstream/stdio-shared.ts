import { AppError, toAppError } from '../../lib/errors.ts'
import type { StopSignal } from '../../lib/stopping.ts'
import type { Owner } from './in-flight.ts'
import type { Channel } from './stdio-channel.ts'
import type { StdioLimits } from './stdio-limits.ts'
import type { Outgoing, Reply, UpstreamSession } from './upstream.ts'

export interface RunnerOptions {
  server: string
  start: () => Promise<Channel>
  limits: Pick<StdioLimits, 'maxStarts' | 'startsMs'>
  /** Milliseconds of a clock that only goes forward. */
  now: () => number
  /** What follows the end of a process; by default another starts when it is needed. */
  restart?: 'never' | 'on_failure' | 'always'
}

/** A program of which one process at a time serves modern conversations. */
export interface Runner {
  /** Resolves when a process runs; starts one if need be. */
  ready(): Promise<void>
  /** A conversation that uses the process with others. `ended` never settles: a process that dies is replaced. */
  converse(): UpstreamSession
  /** Ends the process for good. */
  close(): Promise<void>
}

/** A modern conversation with a process of its own. */
export async function openAlone(options: RunnerOptions): Promise<UpstreamSession> {
  const runner = createRunner(options)
  await runner.ready()
  return { ...runner.converse(), close: () => runner.close() }
}

/**
 * When the process dies, what was under way fails, and the next request starts another (MCP 2026-07-28, basic/transports/stdio); one that
 * dies again and again is left alone for a while. One that was stopped for want of use may be started as often as it likes.
 */
export function createRunner(options: RunnerOptions): Runner {
  return new ProcessRunner(options)
}

class ProcessRunner implements Runner {
  readonly #options: RunnerOptions
  readonly #budget: Budget
  /** Those whose process may still be there. */
  readonly #channels = new Set<Channel>()
  #current: Channel | undefined
  #starting: Promise<Channel> | undefined
  #failure: AppError | undefined
  #closed: AppError | undefined
  #again: NodeJS.Timeout | undefined

  constructor(options: RunnerOptions) {
    this.#options = options
    this.#budget = createBudget(options.limits, options.now)
  }

  async ready(): Promise<void> {
    if (this.#current && !this.#current.dead) return
    try {
      await this.#renew()
    } catch (thrown) {
      if (this.#options.restart === 'always') this.#tryAgain()
      throw toAppError(thrown)
    }
  }

  converse(): UpstreamSession {
    const owner: Owner = {}
    let left: AppError | undefined
    const why = (): AppError | undefined => left ?? this.#closed
    return {
      externalId: undefined,
      ended: new Promise(() => undefined),
      send: (message, signal) => {
        const closed = why()
        return closed ? Promise.reject(closed) : this.#send(message, signal, owner)
      },
      listen: async () => {
        const closed = why()
        if (closed) throw closed
        return NOT_OFFERED
      },
      close: async () => {
        left ??= wasClosed(this.#options.server)
        for (const channel of this.#channels) channel.abandon(owner, left)
      },
    }
  }

  async close(): Promise<void> {
    this.#closed ??= wasClosed(this.#options.server)
    clearTimeout(this.#again)
    // Whoever waits for the start is told when it fails.
    const started = this.#starting?.then(noop, noop)
    await Promise.all([started, ...[...this.#channels].map((channel) => channel.close())])
  }

  #send(message: Outgoing, signal: StopSignal, owner: Owner): Promise<Reply> {
    const current = this.#current
    if (current && !current.dead) return current.send(message, signal, owner)
    // A process that starts now would not know what a notification is about.
    if (message.kind === 'notification') return Promise.resolve({ kind: 'accepted' })
    return this.#renew().then((channel) => channel.send(message, signal, owner))
  }

  async #renew(): Promise<Channel> {
    const { restart, server } = this.#options
    const last = this.#current
    if (restart === 'never' && last?.dead && !last.isIdleStopped) throw notAgain(server, last.dead)
    this.#starting ??= this.#begin().finally(() => (this.#starting = undefined))
    return this.#starting
  }

  async #begin(): Promise<Channel> {
    const { limits, start, restart } = this.#options
    if (this.#closed) throw this.#closed
    const waitMs = this.#current?.isIdleStopped ? 0 : this.#budget.take()
    if (waitMs > 0) throw tooManyStarts(this.#current?.dead ?? this.#failure, limits, waitMs)
    this.#current = undefined
    const channel = await start().catch((thrown: unknown) => {
      const failure = toAppError(thrown)
      this.#failure = failure
      throw failure
    })
    const closed = this.#findClosed()
    if (closed) {
      await channel.close()
      throw closed
    }
    this.#channels.add(channel)
    void channel.ended.then(() => {
      this.#channels.delete(channel)
      if (restart === 'always' && !this.#closed) this.#keepRunning()
    })
    this.#current = channel
    return channel
  }

  #findClosed(): AppError | undefined {
    return this.#closed
  }

  #keepRunning(): void {
    this.#renew().catch(() => this.#tryAgain())
  }

  #tryAgain(): void {
    if (this.#closed) return
    this.#again ??= setTimeout(
      () => {
        this.#again = undefined
        this.#keepRunning()
      },
      Math.max(AGAIN_MS, this.#budget.waitMs()),
    ).unref()
  }
}

/** Between two attempts to keep a program running that cannot be started. */
const AGAIN_MS = 5000

function noop(): void {}

function wasClosed(server: string): AppError {
  return new AppError('cancelled', `the session with MCP server "${server}" was closed`)
}

function notAgain(server: string, why: AppError): AppError {
  const words = `${why.message}; it is not started again (restart: never) before the app "${server}" is changed`
  return new AppError('unavailable', words, { origin: 'upstream', details: { crashed: true }, cause: why })
}

/** What streamable HTTP answers to GET when it offers no such stream. */
const NOT_OFFERED: Extract<Reply, { kind: 'refused' }> = {
  kind: 'refused',
  status: 405,
  bytes: Buffer.from('{"jsonrpc":"2.0","error":{"code":-32000,"message":"this server offers no stream here"}}'),
  contentType: 'application/json',
}

interface Budget {
  /** Takes one start, or says in how many milliseconds there will be one. */
  take(): number
  waitMs(): number
}

/** At most `maxStarts` in any `startsMs`. */
function createBudget({ maxStarts, startsMs }: RunnerOptions['limits'], now: () => number): Budget {
  let taken: number[] = []
  const waitMs = (): number => {
    const at = now()
    taken = taken.filter((then) => at - then < startsMs)
    const [oldest] = taken
    return oldest !== undefined && taken.length >= maxStarts ? oldest + startsMs - at : 0
  }
  return {
    waitMs,
    take() {
      const ms = waitMs()
      if (ms === 0) taken.push(now())
      return ms
    },
  }
}

function tooManyStarts(last: AppError | undefined, { maxStarts, startsMs }: RunnerOptions['limits'], waitMs: number): AppError {
  const [window, wait] = [startsMs, waitMs].map((ms) => Math.ceil(ms / 1000))
  const words = `${last?.message}; it is started ${maxStarts} times in ${window} s at most: try again in ${wait} s`
  return new AppError('unavailable', words, { origin: 'upstream', details: { crashed: true }, cause: last })
}

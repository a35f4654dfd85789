import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import { AppError, toAppError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import type { SseEvent } from '../../lib/sse.ts'
import type { StopSignal } from '../../lib/stopping.ts'
import { lostAgain, notRepeated } from './healing-faults.ts'
import { createMemory, isRepeatable } from './healing-memory.ts'
import { openAgain, PAUSES_MS } from './healing-open.ts'
import { fresh, hasNoStream, losesListener, NO_STREAM, tellsOfLoss } from './healing-signs.ts'
import { toEvent } from './in-flight.ts'
import type { Outgoing, Reply, UpstreamSession } from './upstream.ts'

export interface HealingDeps {
  /** Name of the MCP server, for messages. */
  server: string
  now: () => number
  log: Logger
  /** How long to wait between attempts to reach a server that is gone, in milliseconds; default: 16 seconds in all. */
  pausesMs?: readonly number[]
}

export interface HealingSessionOptions extends HealingDeps {
  first: UpstreamSession
  /** Opens another session with the same server for the same caller. */
  open: () => Promise<UpstreamSession>
}

/** Between two new beginnings, and how many a session may have: a server that dies again and again is not healed by being started. */
const PAUSE_MS = 10_000
const MAX_TIMES = 5
/** What was sent in a session before it was found lost gets its own answer, mostly that it is lost; only then is it known that it was not run. */
const LAST_ANSWERS_MS = 5000

/** One inner session; `isLost` once the server does not know it, or is gone. */
interface Life {
  readonly session: UpstreamSession
  isLost: boolean
  /** Messages that the server has not begun to answer. */
  sent: number
  /** Told when there are none any more; only a life that is left is waited for. */
  onQuiet: (() => void) | undefined
}

/** A legacy session that begins again at the server when the server has lost it; see `createHealingUpstream`. */
export function createHealingSession(options: HealingSessionOptions): UpstreamSession {
  return new HealingSession(options)
}

class HealingSession implements UpstreamSession {
  readonly #options: HealingSessionOptions
  readonly #memory = createMemory()
  readonly #ended = Promise.withResolvers<string>()
  readonly #closing = new AbortController()
  /** Inner sessions on their way out. */
  readonly #leaving = new Set<Promise<void>>()
  #life: Life
  #healing: Promise<Life> | undefined
  #times = 0
  #lastAt = Number.NEGATIVE_INFINITY
  /** The lists may have changed and the client does not know yet. */
  #isChanged = false
  #failure: AppError | undefined

  constructor(options: HealingSessionOptions) {
    this.#options = options
    this.#life = this.#follow(options.first)
  }

  get ended(): Promise<string> {
    return this.#ended.promise
  }

  get externalId(): string | undefined {
    return this.#life.session.externalId
  }

  get isWaiting(): boolean {
    return this.#life.session.isWaiting === true
  }

  send(message: Outgoing, signal: StopSignal): Promise<Reply> {
    if (this.#healing || this.#life.isLost) return this.#heal().then((life) => this.#sendIn(life, message, signal))
    return this.#sendIn(this.#life, message, signal)
  }

  async listen(headers: Readonly<Record<string, string>>, signal: AbortSignal): ReturnType<UpstreamSession['listen']> {
    let life = this.#healing || this.#life.isLost ? await this.#heal() : this.#life
    let reply = await life.session.listen(headers, signal)
    if (reply.kind === 'refused' && (await losesListener(life.session, reply, headers, signal)) && this.#giveUp(life)) {
      life = await this.#heal()
      reply = await life.session.listen(fresh(headers), signal)
    }
    if (reply.kind === 'refused') return hasNoStream(reply) && this.#failure === undefined ? NO_STREAM : reply
    return { kind: 'events', events: this.#events(life, reply.events, headers, signal) }
  }

  async close(): Promise<void> {
    this.#failure ??= new AppError('cancelled', `the session with MCP server "${this.#options.server}" was closed`)
    this.#closing.abort()
    this.#leave(this.#life)
    await Promise.all([this.#healing?.catch(() => undefined), ...this.#leaving])
    // One that was opened while the rest was being closed.
    await Promise.all(this.#leaving)
  }

  #sendIn(life: Life, message: Outgoing, signal: StopSignal): Promise<Reply> {
    life.sent += 1
    return life.session.send(message, signal).then(
      (reply) => {
        leave(life)
        if (reply.kind === 'refused') return this.#refused(reply, life, message, signal)
        return this.#memory.remember(message, this.#explain(reply, life, message))
      },
      (thrown: unknown) => this.#recover(thrown, life, message, signal),
    )
  }

  /** The server has not run it: in a session that it does not know, anything is safe to send again. */
  async #refused(reply: Extract<Reply, { kind: 'refused' }>, life: Life, message: Outgoing, signal: StopSignal): Promise<Reply> {
    if ((await tellsOfLoss(life.session, reply, message, signal)) && this.#giveUp(life)) return this.#sendAgain(message, signal)
    return this.#memory.remember(message, reply)
  }

  /** What the session was lost with is sent in the next one, if that is safe. */
  async #recover(thrown: unknown, life: Life, message: Outgoing, signal: StopSignal): Promise<Reply> {
    try {
      if (signal.aborted || !(await this.#isLost(life))) throw thrown
      if (!isRepeatable(message)) throw notRepeated(toAppError(thrown), message)
    } finally {
      leave(life)
    }
    return this.#sendAgain(message, signal)
  }

  async #sendAgain(message: Outgoing, signal: StopSignal): Promise<Reply> {
    return this.#memory.remember(message, await (await this.#heal()).session.send(message, signal))
  }

  /** A stream that breaks off with its session says what became of the request. */
  #explain(reply: Reply, life: Life, message: Outgoing): Reply {
    if (reply.kind !== 'events' || message.method === 'initialize') return reply
    return { kind: 'events', events: this.#explained(reply.events, life, message) }
  }

  async *#explained(events: AsyncIterable<SseEvent>, life: Life, message: Outgoing): AsyncGenerator<SseEvent> {
    try {
      yield* events
    } catch (thrown) {
      if (!(await this.#isLost(life))) throw thrown
      throw notRepeated(toAppError(thrown), message)
    }
  }

  async *#events(
    first: Life,
    stream: AsyncIterable<SseEvent>,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): AsyncGenerator<SseEvent> {
    let life = first
    let events = stream
    for (;;) {
      yield* this.#changes()
      try {
        for await (const event of events) {
          yield event
          if (this.#isChanged) yield* this.#changes()
        }
      } catch (thrown) {
        if (signal.aborted || !(await this.#isLost(life))) throw thrown
      }
      if (signal.aborted || !(await this.#isLost(life))) return
      life = await this.#heal()
      const reply = await life.session.listen(fresh(headers), signal)
      if (reply.kind === 'refused') return
      events = reply.events
    }
  }

  *#changes(): Generator<SseEvent> {
    if (!this.#isChanged) return
    this.#isChanged = false
    for (const method of this.#memory.agreed?.changes ?? []) yield toEvent(Buffer.from(`{"jsonrpc":"2.0","method":"${method}"}`))
  }

  /** For a life that the server has forgotten. True when it may go on in a new one. */
  #giveUp(life: Life): boolean {
    this.#lose(life, `MCP server "${this.#options.server}" does not know the session any more`)
    return this.#failure === undefined
  }

  /** Asked after a failure; what fails with a session may be told a moment before the end of the session is. */
  async #isLost(life: Life): Promise<boolean> {
    if (!life.isLost) await turn()
    return life.isLost && this.#failure === undefined
  }

  #follow(session: UpstreamSession): Life {
    const life: Life = { session, isLost: false, sent: 0, onQuiet: undefined }
    void session.ended.then((reason) => this.#lose(life, reason))
    return life
  }

  /** Nothing begins anew before somebody needs it: a program that ends when it is idle may stay away. */
  #lose(life: Life, reason: string): void {
    if (life.isLost) return
    life.isLost = true
    if (life === this.#life && !this.#mayBegin()) this.#end(new AppError('unavailable', reason, { origin: 'upstream' }))
  }

  #mayBegin(): boolean {
    return (
      this.#failure === undefined &&
      this.#memory.initialize !== undefined &&
      this.#times < MAX_TIMES &&
      this.#options.now() - this.#lastAt >= PAUSE_MS
    )
  }

  #end(why: AppError): void {
    this.#failure ??= why
    this.#ended.resolve(why.message)
  }

  #leave(life: Life): void {
    life.isLost = true
    const left = Promise.race([quietOf(life), sleep(LAST_ANSWERS_MS, undefined, { signal: this.#closing.signal, ref: false })])
      .catch(() => undefined) // it is being closed: nothing is waited for
      .then(() => life.session.close())
      .catch((error: unknown) => this.#options.log.debug('a lost session of an MCP server did not close cleanly', { error: String(error) }))
      .finally(() => this.#leaving.delete(left))
    this.#leaving.add(left)
  }

  /** The session as it goes on; the first who asks begins it anew. @throws what ended it for good. */
  async #heal(): Promise<Life> {
    if (this.#healing) return this.#healing
    if (this.#failure) throw this.#failure
    if (!this.#life.isLost) return this.#life
    this.#healing = this.#begin().finally(() => (this.#healing = undefined))
    return this.#healing
  }

  async #begin(): Promise<Life> {
    const { server, open, log, now, pausesMs = PAUSES_MS } = this.#options
    try {
      if (!this.#mayBegin()) throw lostAgain(server)
      this.#times += 1
      this.#lastAt = now()
      this.#leave(this.#life)
      const next = await openAgain({ server, open, memory: this.#memory, pausesMs, closing: this.#closing.signal })
      if (this.#failure) {
        await next.close()
        throw this.#failure
      }
      this.#life = this.#follow(next)
      this.#isChanged = true
      log.info('a session with an MCP server began again', { server, times: this.#times })
      return this.#life
    } catch (thrown) {
      const error = this.#failure ?? toAppError(thrown)
      this.#end(error)
      throw error
    }
  }
}

function quietOf(life: Life): Promise<void> {
  return life.sent === 0 ? Promise.resolve() : new Promise((resolve) => (life.onQuiet = resolve))
}

function leave(life: Life): void {
  life.sent -= 1
  if (life.sent === 0) life.onQuiet?.()
}

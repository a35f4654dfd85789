import { AppError, toAppError } from '../../lib/errors.ts'
import { orCancelled } from '../../lib/pause.ts'
import type { StopSignal } from '../../lib/stopping.ts'
import type { Spare, WarmPool } from '../hosting/warm-pool.ts'
import type { Child } from './child.ts'
import { findAgreement, findHandshake, type Rehearsed, replyTo } from './rehearsal.ts'
import type { Channel } from './stdio-channel.ts'
import type { Outgoing, Reply, UpstreamSession } from './upstream.ts'

export interface WarmOptions {
  server: string
  pool: Pick<WarmPool<Rehearsed>, 'take' | 'learn'>
  /** A process that nobody has started yet. */
  start: () => Promise<Child>
  toChannel: (child: Child) => Channel
}

/** A legacy conversation whose process is chosen by its first message: one that was told the same already, if there is one. */
export function openWarm(options: WarmOptions): Pick<UpstreamSession, 'send' | 'listen' | 'ended' | 'close'> {
  return new WarmSession(options)
}

class WarmSession {
  readonly #options: WarmOptions
  readonly #ended = Promise.withResolvers<string>()
  #channel: Promise<Channel> | undefined
  #isClosed = false

  constructor(options: WarmOptions) {
    this.#options = options
  }

  get ended(): Promise<string> {
    return this.#ended.promise
  }

  async send(message: Outgoing, signal: StopSignal): Promise<Reply> {
    if (this.#channel) return (await this.#channel).send(message, signal)
    const handshake = findHandshake(message)
    const { pool } = this.#options
    const spare = pool.take(handshake)
    if (spare?.rehearsal) return await this.#adopt(spare.rehearsal, message, signal)
    const reply = await (await this.#begin(spare)).send(message, signal)
    if (handshake !== undefined && findAgreement(reply)) pool.learn(handshake)
    return reply
  }

  async listen(headers: Readonly<Record<string, string>>, signal: AbortSignal): ReturnType<UpstreamSession['listen']> {
    const channel = await (this.#channel ?? this.#begin(this.#options.pool.take(undefined)))
    return channel.listen(headers, signal)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    const channel = await this.#channel?.catch(() => undefined) // whoever waited for it was told
    await channel?.close()
  }

  async #adopt(rehearsal: Rehearsed, message: Outgoing, signal: StopSignal): Promise<Reply> {
    rehearsal.channel.adopt()
    await this.#use(Promise.resolve(rehearsal.channel))
    return replyTo(message, await orCancelled(rehearsal.agreed, signal, 'the request was cancelled'))
  }

  #begin(spare: Spare<Rehearsed> | undefined): Promise<Channel> {
    const { start, toChannel } = this.#options
    return this.#use(spare ? Promise.resolve(toChannel(spare.child)) : start().then(toChannel))
  }

  async #use(coming: Promise<Channel>): Promise<Channel> {
    if (this.#isClosed) {
      void coming.then((channel) => channel.close())
      throw new AppError('cancelled', `the session with MCP server "${this.#options.server}" was closed`)
    }
    this.#channel = coming
    try {
      const channel = await coming
      void channel.ended.then(this.#ended.resolve)
      return channel
    } catch (thrown) {
      this.#ended.resolve(toAppError(thrown).message)
      throw thrown
    }
  }
}

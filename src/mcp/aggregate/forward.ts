import { AppError, toAppError } from '../../lib/errors.ts'
import type { ClientMessage } from '../message.ts'
import type { Outlet } from '../outlet.ts'
import type { Channel } from './channel.ts'
import { deliver, type Delivery } from './deliver.ts'
import type { Engine } from './engine.ts'
import type { Routed } from './routing.ts'

export interface Forwarding {
  channel: Channel
  routed: Routed
  message: ClientMessage
  outlet: Outlet
  questions: Delivery['questions']
  answered: Delivery['answered']
  isForeignToken: Delivery['isForeignToken']
  /** The client, or whoever acts for it, wants the answer no more. */
  signal: AbortSignal
}

/** Sends a request to its member and brings what it answers to the outlet. A failure becomes the answer. @returns whether the request is over. */
export async function forward(engine: Engine, forwarding: Forwarding): Promise<boolean> {
  const { channel, routed, message, outlet, signal } = forwarding
  const { name: server } = routed.member
  const patience = new Patience(engine, signal)
  const explain = (thrown: unknown): AppError => patience.why ?? toAppError(thrown)
  try {
    const reply = await patience.race(channel.send(routed.member, routed.message, patience.signal))
    return await deliver(
      reply,
      {
        server,
        method: message.method,
        id: message.id,
        era: channel.era,
        questions: forwarding.questions,
        answered: forwarding.answered,
        isForeignToken: forwarding.isForeignToken,
        onChanged: (kind) => engine.catalogue.changed(channel, server, kind),
        onProgress: () => patience.renew(),
        explain,
      },
      outlet,
    )
  } catch (thrown) {
    const error = explain(thrown)
    if (error.code === 'internal') engine.log.error('a request could not be forwarded', { server, error })
    await outlet.fail(error, message.id)
    return true
  } finally {
    patience.end()
  }
}

/** Gives up on a member that has been silent for too long, and when the client does. */
class Patience {
  readonly #engine: Engine
  readonly #outer: AbortSignal
  readonly #stopping = new AbortController()
  readonly #stopped = Promise.withResolvers<never>()
  readonly #onOuter = (): void => {
    const reason: unknown = this.#outer.reason
    this.#stop(reason instanceof AppError ? reason : new AppError('cancelled', 'the request was cancelled', { details: { http: 200 } }))
  }
  #cancelTimer: () => void = () => undefined
  why: AppError | undefined

  constructor(engine: Engine, outer: AbortSignal) {
    this.#engine = engine
    this.#outer = outer
    this.#stopped.promise.catch(() => undefined) // told to whoever races it
    if (outer.aborted) this.#onOuter()
    else outer.addEventListener('abort', this.#onOuter, { once: true })
    this.renew()
  }

  get signal(): AbortSignal {
    return this.#stopping.signal
  }

  race<T>(promise: Promise<T>): Promise<T> {
    return Promise.race([promise, this.#stopped.promise])
  }

  renew(): void {
    this.#cancelTimer()
    const { timers, limits } = this.#engine
    this.#cancelTimer = timers.after(limits.silenceMs, () => {
      this.#stop(new AppError('deadline_exceeded', 'the MCP server has been silent for too long', { origin: 'upstream' }))
    })
  }

  end(): void {
    this.#cancelTimer()
    this.#outer.removeEventListener('abort', this.#onOuter)
  }

  #stop(why: AppError): void {
    this.why = why
    this.#stopped.reject(why)
    this.#stopping.abort()
  }
}

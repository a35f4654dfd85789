import { AppError } from '../../lib/errors.ts'
import type { HttpExchange } from '../../lib/http-exchange.ts'
import type { ClientMessage } from '../message.ts'
import type { Outlet } from '../outlet.ts'
import type { Channel } from './channel.ts'
import { Listen, type ListenDeps } from './listen.ts'
import type { View } from './view.ts'
import { readWanted } from './wanted.ts'

interface Listening {
  exchange: HttpExchange
  view: View
  message: ClientMessage
  channel: Channel
  outlet: Outlet
}

/** Kept for as long as the stream is. */
const MAX_BYTES = 1024 * 1024

/** All streams of `subscriptions/listen` (2026-07-28). */
export class Listens {
  readonly #deps: ListenDeps
  readonly #open = new Set<Listen>()

  constructor(deps: ListenDeps) {
    this.#deps = deps
  }

  /** Answers the request with a stream that ends when the client goes away, or may not stay. @throws AppError for one that cannot be read. */
  async serve({ exchange, view, message, channel, outlet }: Listening): Promise<void> {
    const { listensPerOwner } = this.#deps.limits
    if (message.bytes.length > MAX_BYTES)
      throw new AppError('resource_exhausted', `a subscription may have ${MAX_BYTES} bytes`, { details: { http: 413, rpc: -32600 } })
    const members = await view.members()
    const wanted = readWanted(message.params)
    if (this.of(view.owner).length >= listensPerOwner)
      throw new AppError('resource_exhausted', `${listensPerOwner} subscriptions are open: end one first`)
    const listen = new Listen({ deps: this.#deps, view, message, channel, outlet, wanted })
    this.#open.add(listen)
    const onGone = (): void => listen.close()
    if (exchange.signal.aborted) onGone()
    else exchange.signal.addEventListener('abort', onGone, { once: true })
    try {
      await listen.run(members)
    } finally {
      this.#open.delete(listen)
      exchange.signal.removeEventListener('abort', onGone)
    }
  }

  of(owner: string | undefined): Listen[] {
    return [...this.#open].filter((listen) => owner === undefined || listen.owner === owner)
  }

  cut(reasonFor: (owner: string) => string | undefined): void {
    for (const listen of this.#open) if (reasonFor(listen.owner) !== undefined || listen.mustLeave()) listen.finish()
  }

  sweep(isKeepAliveDue: boolean): void {
    this.cut(() => undefined)
    if (isKeepAliveDue) for (const listen of this.#open) listen.keepAlive()
  }

  close(): void {
    for (const listen of this.#open) listen.finish()
  }
}

import { AppError } from '../../lib/errors.ts'
import type { HttpExchange } from '../../lib/http-exchange.ts'
import type { ClientMessage } from '../message.ts'
import { ByOwner } from '../by-owner.ts'
import type { Outlet } from '../outlet.ts'
import { Rounds } from '../rounds.ts'
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
/** How late the end of a credential may be noticed. */
const CHECK_MS = 1000

/** All streams of `subscriptions/listen` (2026-07-28). */
export class Listens {
  readonly #deps: ListenDeps
  readonly #open = new Set<Listen>()
  readonly #byOwner = new ByOwner<Listen>()
  readonly #checks: Rounds<Listen>
  readonly #keepAlives: Rounds<Listen>

  constructor(deps: ListenDeps) {
    this.#deps = deps
    this.#checks = new Rounds(this.#open, CHECK_MS, deps.now())
    this.#keepAlives = new Rounds(this.#open, deps.limits.keepAliveMs, deps.now())
  }

  /** Answers the request with a stream that ends when the client goes away, or may not stay. @throws AppError for one that cannot be read. */
  async serve({ exchange, view, message, channel, outlet }: Listening): Promise<void> {
    const { listensPerOwner } = this.#deps.limits
    if (message.bytes.length > MAX_BYTES)
      throw new AppError('resource_exhausted', `a subscription may have ${MAX_BYTES} bytes`, { details: { http: 413, rpc: -32600 } })
    const members = await view.members()
    const wanted = readWanted(message.params)
    if (this.#byOwner.countOf(view.owner) >= listensPerOwner)
      throw new AppError('resource_exhausted', `${listensPerOwner} subscriptions are open: end one first`)
    const listen = new Listen({ deps: this.#deps, view, message, channel, outlet, wanted })
    this.#open.add(listen)
    this.#byOwner.add(listen)
    const onGone = (): void => listen.close()
    if (exchange.signal.aborted) onGone()
    else exchange.signal.addEventListener('abort', onGone, { once: true })
    try {
      await listen.run(members)
    } finally {
      this.#open.delete(listen)
      this.#byOwner.delete(listen)
      exchange.signal.removeEventListener('abort', onGone)
    }
  }

  of(owner: string | undefined): Listen[] {
    return owner === undefined ? [...this.#open] : this.#byOwner.of(owner)
  }

  cut(reasonFor: (owner: string) => string | undefined): void {
    for (const listen of this.#open) if (reasonFor(listen.owner) !== undefined || listen.mustLeave()) listen.finish()
  }

  sweep(): void {
    const now = this.#deps.now()
    this.#checks.step(now, (listen) => {
      if (listen.mustLeave()) listen.finish()
    })
    this.#keepAlives.step(now, (listen) => listen.keepAlive())
  }

  close(): void {
    for (const listen of this.#open) listen.finish()
  }
}

import { toAppError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { frameSse, type SseEvent } from '../../lib/sse.ts'
import type { Outlet } from '../outlet.ts'
import { Debounce } from './debounce.ts'
import { follow } from './follow.ts'
import { renderEvent, translate } from './incoming.ts'
import type { ListKind } from '../list-kinds.ts'
import { get, type Peer } from './peer.ts'
import type { Questions } from './questions.ts'
import type { Timers } from '../../lib/timers.ts'
import type { Placed } from './uris.ts'

export interface StreamOptions {
  outlet: Outlet
  questions: Questions
  /** The method of the request of the client that a member's response on this stream answers. */
  answered: (server: string, id: unknown) => string | undefined
  /** Whether a token of progress is that of a request of another member. */
  isForeignToken: (server: string, token: unknown) => boolean
  /** A member said that a list of its has changed. */
  onChanged: (server: string, kind: ListKind) => void
  /** The event after which the client lost a stream. */
  resumeAfter: Placed | undefined
  timers: Timers
  debounceMs: number
  /** How long a member may take to open its stream. */
  openMs: number
  log: Logger
  /** Told once it is closed. */
  onEnd: () => void
}

/** The GET stream of a session: what all its members say of themselves, and what we say, as one. */
export class SessionStream {
  readonly #options: StreamOptions
  readonly #debounce: Debounce
  /** Made for the first: most streams are idle from beginning to end. */
  #members: Map<string, AbortController> | undefined
  #resumeAfter: Placed | undefined
  #isClosed = false

  constructor(options: StreamOptions) {
    this.#options = options
    this.#resumeAfter = options.resumeAfter
    this.#debounce = new Debounce(options.timers, options.debounceMs, (kind) => {
      const data = `{"jsonrpc":"2.0","method":"notifications/${kind}/list_changed"}`
      void options.outlet.write(frameSse({ data }))
    })
  }

  /** Another member has a session now. */
  attach(peer: Peer): void {
    if (this.#isClosed) return
    const server = peer.member.name
    this.detach(server)
    const stopping = new AbortController()
    this.#members ??= new Map()
    this.#members.set(server, stopping)
    const { timers, log, openMs } = this.#options
    const lastEventId = this.#resumeAfter?.server === server ? this.#resumeAfter.original : undefined
    if (lastEventId !== undefined) this.#resumeAfter = undefined
    void follow({
      timers,
      lastEventId,
      signal: stopping.signal,
      openMs,
      open: (last, signal) => get(peer, last, signal),
      onEvent: (event) => this.#pass(event, server),
      onFault: (thrown) => log.debug('the event stream of a member broke off', { server, error: toAppError(thrown).message }),
    })
  }

  detach(server: string): void {
    this.#members?.get(server)?.abort()
    this.#members?.delete(server)
  }

  /** Stays open and says nothing more until members are attached again. */
  rest(): void {
    for (const server of this.#members?.keys() ?? []) this.detach(server)
  }

  /** The client should read this list again. */
  changed(kind: ListKind): void {
    this.#debounce.changed(kind)
  }

  close(reason?: string): void {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const stopping of this.#members?.values() ?? []) stopping.abort()
    this.#debounce.close()
    if (reason !== undefined) this.#options.outlet.explain(reason)
    this.#options.outlet.end()
    this.#options.onEnd()
  }

  async #pass(event: SseEvent, server: string): Promise<void> {
    const { outlet, questions, answered, isForeignToken, onChanged } = this.#options
    if (event.isComment) return
    if (event.data.length === 0) return outlet.write(renderShared(event, undefined, server))
    const incoming = translate(event.data.toString('utf8'), {
      server,
      questions,
      methodOf: (id) => answered(server, id),
      isForeignToken: (token) => isForeignToken(server, token),
    })
    if (incoming.changed) {
      onChanged(server, incoming.changed)
      return this.changed(incoming.changed)
    }
    if (incoming.text !== undefined) await outlet.write(renderShared(event, incoming.text, server))
  }
}

/** Without the time after which to come back, for no member has a say in when the client comes back for all. */
function renderShared({ retry, ...event }: SseEvent, text: string | undefined, server: string): Buffer {
  if (retry === undefined) return renderEvent(event, text, server)
  const raw = event.hasData ? frameSse({ data: event.data, event: event.event }) : Buffer.from(':\n\n')
  return renderEvent({ ...event, raw }, text, server)
}

import { AppError } from '../../lib/errors.ts'
import type { StopSignal } from '../../lib/stopping.ts'
import type { Outgoing, Reply, UpstreamSession } from '../upstream/upstream.ts'
import type { BridgeDeps } from './bridge.ts'

/** What a client has while the session behind it may become another: sends what opens the session another way than all that comes after it. */
export class FrontSession implements UpstreamSession {
  readonly ended: Promise<string>
  readonly #slot: Slot
  readonly #initialize: UpstreamSession['send']

  constructor(slot: Slot, initialize: UpstreamSession['send']) {
    this.ended = slot.ended
    this.#slot = slot
    this.#initialize = initialize
  }

  get externalId(): string | undefined {
    return this.#slot.current.externalId
  }

  send(message: Outgoing, signal: StopSignal): Promise<Reply> {
    if (opens(message)) return this.#slot.whileOpening(() => this.#initialize(message, signal))
    return this.#slot.current.send(message, signal)
  }

  listen(headers: Readonly<Record<string, string>>, signal: AbortSignal): ReturnType<UpstreamSession['listen']> {
    return this.#slot.current.listen(headers, signal)
  }

  close(): Promise<void> {
    return this.#slot.close()
  }
}

function opens({ kind, method }: Outgoing): boolean {
  return kind === 'request' && method === 'initialize'
}

/** The session behind a front, which may be another one after `initialize`. */
export interface Slot {
  /** Changed by its own methods only. */
  current: UpstreamSession
  readonly ended: Promise<string>
  /** The same session in another form. */
  put(session: UpstreamSession): void
  /** Another session: the one before is closed. */
  replace(session: UpstreamSession): void
  /** The end of a session that may be replaced by what is done is told after it, unless it was replaced: programs may exit once they refused. */
  whileOpening<T>(open: () => Promise<T>): Promise<T>
  /** Closes a session behind the caller's back; `close` waits for it. */
  dispose(session: UpstreamSession): void
  close(): Promise<void>
}

export function createSlot(first: UpstreamSession, { server, log }: BridgeDeps): Slot {
  const ended = Promise.withResolvers<string>()
  const disposing = new Set<Promise<void>>()
  let isClosed = false
  let isOpening = false
  let lost: { session: UpstreamSession; reason: string } | undefined

  const tellEnd = (): void => {
    if (lost?.session === slot.current && !isOpening) ended.resolve(lost.reason)
  }
  const put = (session: UpstreamSession): void => {
    slot.current = session
    void session.ended.then((reason) => {
      if (slot.current !== session) return
      lost = { session, reason }
      tellEnd()
    })
  }
  const dispose = (session: UpstreamSession): void => {
    const gone = session
      .close()
      .catch((error: unknown) => log.debug('a session with an MCP server did not end cleanly', { server, error }))
      .finally(() => disposing.delete(gone))
    disposing.add(gone)
  }
  const slot: Slot = {
    current: first,
    ended: ended.promise,
    put,
    dispose,
    replace(session) {
      if (isClosed) {
        dispose(session)
        throw new AppError('cancelled', `the session with MCP server "${server}" was closed`)
      }
      dispose(slot.current)
      put(session)
    },
    async whileOpening(open) {
      isOpening = true
      try {
        return await open()
      } finally {
        isOpening = false
        tellEnd()
      }
    },
    async close() {
      isClosed = true
      await Promise.all([slot.current.close(), ...disposing])
    },
  }
  put(first)
  return slot
}

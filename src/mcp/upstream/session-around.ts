import type { UpstreamSession } from './upstream.ts'

/**
 * A session whose messages are sent in another way. A class, as all sessions that every call goes through: a literal with a getter is of a hidden
 * class of its own, which makes calls of it slow.
 */
export class SessionAround implements UpstreamSession {
  readonly ended: Promise<string>
  readonly send: UpstreamSession['send']
  readonly #session: UpstreamSession

  constructor(session: UpstreamSession, send: UpstreamSession['send']) {
    this.ended = session.ended
    this.send = send
    this.#session = session
  }

  get externalId(): string | undefined {
    return this.#session.externalId
  }

  get isWaiting(): boolean {
    return this.#session.isWaiting === true
  }

  listen(headers: Readonly<Record<string, string>>, signal: AbortSignal): ReturnType<UpstreamSession['listen']> {
    return this.#session.listen(headers, signal)
  }

  close(): Promise<void> {
    return this.#session.close()
  }
}

import type { Peer } from './peer.ts'
import type { SessionStream } from './session-stream.ts'

const MAX = 4

/**
 * The GET streams of one session, of which the newest speaks: a message goes to one stream only (2025-11-25, Streamable HTTP, multiple
 * connections). The others rest. To end them would have their clients open them again, and two that a client has would take turns for ever.
 */
export class SessionStreams {
  /** Oldest first. */
  readonly #open: SessionStream[] = []

  /** The one that speaks. */
  get current(): SessionStream | undefined {
    return this.#open.at(-1)
  }

  /** A new one takes over. */
  take(stream: SessionStream, peers: readonly Peer[]): void {
    this.current?.rest()
    if (this.#open.push(stream) > MAX) this.#open[0]?.close('this MCP session has too many streams')
    for (const peer of peers) stream.attach(peer)
  }

  /** It is over; the newest of the others speaks again. */
  leave(stream: SessionStream, peers: readonly Peer[]): void {
    const wasCurrent = this.current === stream
    const index = this.#open.indexOf(stream)
    if (index >= 0) this.#open.splice(index, 1)
    if (wasCurrent) for (const peer of peers) this.current?.attach(peer)
  }

  close(reason: string): void {
    // Nobody takes over: they are all over.
    for (const stream of this.#open.splice(0)) stream.close(reason)
  }
}

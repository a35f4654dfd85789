import { TunnelFault } from './fault.ts'
import { Outgoing } from './outgoing.ts'
import type { Receiver } from './receiver.ts'
import type { Sender } from './sender.ts'
import { Stream } from './stream.ts'
import type { StreamOwner, StreamUser } from './stream.ts'

export interface StreamTableOptions {
  owner: StreamOwner
  sender: Sender
  receiver: Receiver
  firstId: number
  /** The last open stream has ended. */
  onEmpty(): void
}

/** The open streams of a tunnel, and which numbers were used. */
export class StreamTable {
  readonly #options: StreamTableOptions
  readonly #streams = new Map<number, Stream>()
  /** Of the streams that were opened. */
  lastId: number
  opened = 0
  /** What the other end takes on a new stream. */
  #peerWindow = 0

  constructor(options: StreamTableOptions) {
    this.#options = options
    this.lastId = options.firstId - 1
  }

  get size(): number {
    return this.#streams.size
  }

  find(id: number): Stream | undefined {
    return this.#streams.get(id)
  }

  /** The next stream, which is open from now on. */
  create(id: number, user?: StreamUser): Stream {
    const { owner, receiver } = this.#options
    this.lastId = id
    this.opened += 1
    const stream = new Stream(owner, receiver, new Outgoing(id, this.#peerWindow), receiver.create())
    stream.user = user
    this.#streams.set(id, stream)
    return stream
  }

  /** The other end has said what it takes. */
  start(peerWindow: number): void {
    this.#peerWindow = peerWindow
    for (const { outgoing } of this.#streams.values()) {
      outgoing.credit = peerWindow
      this.#options.sender.advance(outgoing)
    }
  }

  /** Whether a stream of this number can never have been open. */
  isIdle(id: number): boolean {
    return id === 0 || id > this.lastId
  }

  /** @throws TunnelFault protocol */
  mustNotBeIdle(id: number): void {
    if (this.isIdle(id)) throw new TunnelFault('protocol', 'a frame is of a stream that was never opened')
  }

  /** Both ends have ended it: it is over, and what of it is held here is still for its user. */
  settle(stream: Stream): void {
    if (stream.isOver || !stream.outgoing.isEnded || !stream.incoming.isEnded) return
    stream.isOver = true
    this.#streams.delete(stream.id)
    if (this.#streams.size === 0) this.#options.onEmpty()
  }

  /** It is over before its end: nothing of it is sent or held any more. False when it was not open. */
  drop(stream: Stream): boolean {
    const wasOpen = this.#streams.delete(stream.id)
    stream.isOver = true
    this.#options.sender.forget(stream.outgoing)
    this.#options.receiver.forget(stream)
    if (wasOpen && this.#streams.size === 0) this.#options.onEmpty()
    return wasOpen
  }

  /** Ends every stream after that one, and tells its user. */
  failAfter(id: number, fault: TunnelFault): void {
    for (const stream of this.#streams.values()) {
      if (stream.id <= id || !this.drop(stream)) continue
      stream.user?.onReset(fault)
    }
  }
}

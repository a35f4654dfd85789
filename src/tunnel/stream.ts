import type { FaultCode, TunnelFault } from './fault.ts'
import type { Outgoing } from './outgoing.ts'

/** Who uses a stream. After `onReset`, and after both ends have ended it, nothing is called any more. */
export interface StreamUser {
  /** The other end has taken the stream, with this to say first; only where it was opened from here. */
  onAccept(head: Buffer): void
  /**
   * Bytes, in memory that may be larger and that the user keeps if it keeps them; none when only the end came. `consumed` has to be told of
   * each. `isEnd`: the other end has said all.
   */
  onData(part: Buffer, isEnd: boolean): void
  /** The other end gave it up, or the tunnel broke. */
  onReset(fault: TunnelFault): void
}

/** What a stream asks of its tunnel. */
export interface StreamOwner {
  accept(stream: Stream, head: Uint8Array): void
  send(stream: Stream, chunk: Uint8Array): void
  end(stream: Stream): void
  reset(stream: Stream, code: FaultCode, reason: string): void
}

/** What the receiving half of a stream asks of its tunnel. */
export interface StreamReader {
  consumed(stream: Stream, bytes: number): void
  expect(stream: Stream, bytes: number): void
}

/** The receiving half: how much may still come, and how much is held here. */
export interface Incoming {
  /** Bytes that may still be sent to us. */
  window: number
  /** What the window is filled up to. */
  size: number
  /** Received and not yet used by anybody. */
  held: number
  /** Used, and not yet told to the sender. */
  unacknowledged: number
  isAccepted: boolean
  isEnded: boolean
  /** When something was used last, and when the window was widened last. */
  usedAt: number
  widenedAt: number
}

/** One stream of a tunnel, as both ends use it. Once it is over every call is without effect. */
export class Stream {
  readonly outgoing: Outgoing
  readonly incoming: Incoming
  readonly #owner: StreamOwner
  readonly #reader: StreamReader
  user: StreamUser | undefined
  isOver = false

  constructor(owner: StreamOwner, reader: StreamReader, outgoing: Outgoing, incoming: Incoming) {
    this.#owner = owner
    this.#reader = reader
    this.outgoing = outgoing
    this.incoming = incoming
  }

  get id(): number {
    return this.outgoing.id
  }

  /** Says the first word of the end that did not open the stream, once and before any data. */
  accept(head: Uint8Array): void {
    if (!this.isOver) this.#owner.accept(this, head)
  }

  /** False when the other end is slow: wait for `drained`. The chunk must not change any more. */
  write(chunk: Uint8Array): boolean {
    if (this.isOver || this.outgoing.isEnding) return true
    if (chunk.byteLength > 0) this.#owner.send(this, chunk)
    return !this.outgoing.isFull
  }

  /** Settles when there is room again, or when the stream is over. */
  drained(): Promise<void> {
    return this.outgoing.drained()
  }

  end(chunk?: Uint8Array): void {
    if (this.isOver || this.outgoing.isEnding) return
    this.outgoing.isEnding = true
    if (chunk && chunk.byteLength > 0) this.#owner.send(this, chunk)
    else this.#owner.end(this)
  }

  /** Gives the stream up in both directions; the user is not called any more. */
  reset(code: FaultCode, reason: string): void {
    if (!this.isOver) this.#owner.reset(this, code, reason)
  }

  /** So many bytes are about to come: a larger window from the start saves the other end from waiting for it. */
  expect(bytes: number): void {
    if (!this.isOver) this.#reader.expect(this, bytes)
  }

  /** The user is done with so many of the bytes it was given. */
  consumed(bytes: number): void {
    if (bytes > 0) this.#reader.consumed(this, bytes)
  }
}

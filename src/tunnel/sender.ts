import type { Duplex } from 'node:stream'
import { TunnelFault } from './fault.ts'
import { FRAME } from './frame.ts'
import { Outbox } from './outbox.ts'
import type { Outgoing } from './outgoing.ts'

/** One stream's share of a turn, so that a large answer lets others through. */
const SLICE_BYTES = 32 * 1024
/** Of data that waits for one write. */
const BATCH_BYTES = 256 * 1024
const MAX_WINDOW = 0x7fffffff
const NOTHING = Buffer.alloc(0)

/** The sending side of a tunnel: control frames and heads at once, data in turns between the streams that may send. */
export class Sender {
  readonly #outbox: Outbox
  /** Streams that have something to send and may, in the order of their turns. */
  readonly #ring = new Set<Outgoing>()
  /** Those that have something to send and may not. */
  readonly #parked = new Set<Outgoing>()
  /** What the other end takes on all streams together. */
  #credit = 0
  /** Of frames that answer frames, which the other end could ask for without end. */
  #replyBytes = 0
  #isStarted = false
  /** Data frames that went out. */
  dataFrames = 0

  constructor(socket: Duplex) {
    this.#outbox = new Outbox(socket, () => this.#afterFlush())
  }

  /** Bytes of replies that the other end does not take. */
  get replyBytes(): number {
    return this.#replyBytes
  }

  get isEmpty(): boolean {
    return this.#outbox.isEmpty
  }

  /** The first frame; what follows waits until `start`. */
  greet(payload: Uint8Array): void {
    this.#outbox.add(FRAME.hello, 0, false, payload)
    this.#outbox.hold()
  }

  /** The other end has said what it takes. */
  start(credit: number): void {
    this.#credit = credit
    this.#isStarted = true
    this.#outbox.release()
  }

  /** A frame that is no data; it goes before data that waits. */
  add(kind: number, id: number, payload: Uint8Array, isEnd = false): void {
    this.#outbox.add(kind, id, isEnd, payload)
  }

  /** A frame that the other end made us send. */
  reply(kind: number, id: number, payload: Uint8Array): void {
    this.#replyBytes += payload.byteLength
    this.#outbox.add(kind, id, false, payload)
  }

  /** False when more waits on the stream than may. */
  send(stream: Outgoing, chunk: Uint8Array): boolean {
    if (!stream.push(chunk)) return false
    this.advance(stream)
    return true
  }

  /** What waits on the stream goes out at once where nobody is before it, else in turns. */
  advance(stream: Outgoing): void {
    if (this.#ring.size === 0 && !this.#outbox.isBlocked) {
      while (this.#hasRoom() && stream.canSend(this.#credit)) this.#sendSlice(stream)
    }
    this.#queue(stream)
    stream.settle()
  }

  /** The other end takes more on one stream. @throws TunnelFault flow_control when that is too much to count. */
  widen(stream: Outgoing, bytes: number): void {
    if (stream.credit + bytes > MAX_WINDOW) throw new TunnelFault('flow_control', 'the window of a stream is too large')
    stream.credit += bytes
    this.advance(stream)
  }

  /** The other end takes more on all streams together. @throws TunnelFault flow_control as for one. */
  grant(bytes: number): void {
    if (this.#credit + bytes > MAX_WINDOW) throw new TunnelFault('flow_control', 'the window of the tunnel is too large')
    const wasEmpty = this.#credit === 0
    this.#credit += bytes
    if (!wasEmpty) return
    for (const stream of this.#parked) if (stream.canSend(this.#credit)) this.advance(stream)
  }

  /** Streams that could send nothing since before `since`; called from time to time. */
  findStuck(now: number, since: number): Outgoing[] {
    const stuck: Outgoing[] = []
    for (const stream of this.#parked) {
      stream.stuckSince ??= now
      if (stream.stuckSince <= since) stuck.push(stream)
    }
    return stuck
  }

  /** A stream that is over takes no turns. */
  forget(stream: Outgoing): void {
    this.#ring.delete(stream)
    this.#parked.delete(stream)
    stream.drop()
  }

  /** The last frame, right now; what still waits for the other end's hello is forgotten. */
  farewell(payload: Uint8Array): void {
    if (!this.#isStarted) this.#outbox.discard()
    this.#outbox.add(FRAME.goaway, 0, false, payload)
    this.#outbox.flush()
  }

  close(): void {
    this.#ring.clear()
    this.#parked.clear()
    this.#outbox.close()
  }

  #hasRoom(): boolean {
    return this.#outbox.bytes < BATCH_BYTES
  }

  #afterFlush(): void {
    this.#replyBytes = 0
    while (this.#hasRoom() && !this.#outbox.isBlocked) {
      const [next] = this.#ring
      if (!next) return
      this.#ring.delete(next)
      if (next.canSend(this.#credit)) this.#sendSlice(next)
      this.#queue(next)
      next.settle()
    }
  }

  #queue(stream: Outgoing): void {
    if (stream.queuedBytes === 0 && !stream.canSend(this.#credit)) {
      if (this.#parked.size > 0) this.#parked.delete(stream)
      return
    }
    const [to, from] = stream.canSend(this.#credit) ? [this.#ring, this.#parked] : [this.#parked, this.#ring]
    to.add(stream)
    from.delete(stream)
  }

  #sendSlice(stream: Outgoing): void {
    const most = Math.min(SLICE_BYTES, stream.credit, this.#credit)
    const bytes = stream.queuedBytes > 0 ? stream.take(most) : NOTHING
    stream.credit -= bytes.byteLength
    this.#credit -= bytes.byteLength
    stream.stuckSince = undefined
    if (stream.isEnding && stream.queuedBytes === 0) stream.isEnded = true
    this.dataFrames += 1
    this.#outbox.add(FRAME.data, stream.id, stream.isEnded, bytes)
  }
}

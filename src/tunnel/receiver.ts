import type { Clock } from './clock.ts'
import { TunnelFault } from './fault.ts'
import { FRAME, encodeWindow } from './frame.ts'
import type { TunnelLimits } from './limits.ts'
import type { Sender } from './sender.ts'
import type { Incoming, Stream } from './stream.ts'

export interface ReceiverOptions {
  clock: Clock
  limits: Pick<TunnelLimits, 'streamWindow' | 'maxStreamWindow' | 'connectionWindow'>
  isOpener: boolean
  send: Pick<Sender, 'add'>
}

/** A reader that used up half of its window within this time may have a larger one. */
const FAST_MS = 200
/** When the room gets scarce, streams that used nothing for so long have to go. */
const PATIENCE_MS = 2000

/** The receiving side of a tunnel: who may send how much, and how much of it is held. */
export class Receiver {
  readonly #options: ReceiverOptions
  /** What may still be sent to us on all streams together. */
  #window: number
  #held = 0
  #unacknowledged = 0
  /** Streams of which something is held; the one that used something last is the last. */
  readonly #holding = new Set<Stream>()
  /** What may still come on streams that this end gave up, because the other end did not know yet. */
  #lateBytes = 0
  #lateHeads = 0
  #lateEnds = 0
  #isClosed = false

  constructor(options: ReceiverOptions) {
    this.#options = options
    this.#window = options.limits.connectionWindow
  }

  create(): Incoming {
    const { limits, clock, isOpener } = this.#options
    const { streamWindow: size } = limits
    const now = clock.now()
    return { window: size, size, held: 0, unacknowledged: 0, isAccepted: !isOpener, isEnded: false, usedAt: now, widenedAt: now }
  }

  /** @throws TunnelFault when it should not have been sent. */
  take(stream: Stream, part: Buffer, isEnd: boolean): void {
    const { incoming, user } = stream
    if (incoming.isEnded) throw new TunnelFault('protocol', 'data came after the end of a stream')
    if (this.#options.isOpener && !incoming.isAccepted) throw new TunnelFault('protocol', 'data came before the stream was accepted')
    if (part.length > incoming.window || part.length > this.#window)
      throw new TunnelFault('flow_control', 'more data came than was allowed')
    incoming.window -= part.length
    this.#window -= part.length
    incoming.held += part.length
    this.#held += part.length
    incoming.isEnded = isEnd
    user?.onData(part, isEnd)
    if (incoming.held > 0 && !this.#holding.has(stream)) {
      incoming.usedAt = this.#options.clock.now()
      this.#holding.add(stream)
    }
  }

  /** Data of a stream that is over. @throws TunnelFault when it cannot have been on its way. */
  takeLate(bytes: number, isIdle: boolean): void {
    this.#lateBytes -= bytes
    if (bytes === 0) this.#lateEnds -= 1
    if (isIdle || this.#lateBytes < 0 || this.#lateEnds < 0) throw new TunnelFault('protocol', 'data is of no open stream')
    if (bytes > this.#window) throw new TunnelFault('flow_control', 'more data came than was allowed')
    this.#window -= bytes
    this.#giveBack(bytes)
  }

  takeLateHead(isIdle: boolean, isEnd: boolean): void {
    this.#lateHeads -= 1
    if (isEnd) this.#lateEnds -= 1
    if (isIdle || this.#lateHeads < 0 || this.#lateEnds < 0) throw new TunnelFault('protocol', 'a stream is accepted that is not open')
  }

  /** This end gave a stream up: what is on its way may still come. */
  expectLate({ isEnded, isAccepted, window }: Incoming): void {
    if (isEnded) return
    this.#lateBytes += window
    this.#lateEnds += 1
    if (!isAccepted) this.#lateHeads += 1
  }

  /** The tunnel is gone; what is held is still used up. */
  close(): void {
    this.#isClosed = true
  }

  consumed(stream: Stream, bytes: number): void {
    const { incoming } = stream
    const used = Math.min(bytes, incoming.held)
    incoming.held -= used
    this.#held -= used
    if (this.#holding.delete(stream) && incoming.held > 0) {
      this.#holding.add(stream)
      incoming.usedAt = this.#options.clock.now()
    }
    if (this.#isClosed) return
    this.#giveBack(used)
    incoming.unacknowledged += used
    if (!stream.isOver && !incoming.isEnded && incoming.unacknowledged >= incoming.size / 2) this.#widen(stream.id, incoming)
  }

  /** So many bytes are about to come on a stream; while there is room its window grows for them at once. */
  expect({ id, incoming }: Stream, bytes: number): void {
    const more = Math.min(bytes, this.#options.limits.maxStreamWindow) - incoming.size
    if (more <= 0 || incoming.isEnded || !this.#isRoomy) return
    incoming.size += more
    incoming.window += more
    this.#options.send.add(FRAME.window, id, encodeWindow(more))
  }

  /** Nobody will use what is held of the stream. */
  forget(stream: Stream): void {
    const { held } = stream.incoming
    stream.incoming.held = 0
    this.#held -= held
    this.#holding.delete(stream)
    if (!this.#isClosed && held > 0) this.#giveBack(held)
  }

  /** Those that have to go so that slow readers do not take the room of all others. */
  findStalled(now: number): Stream[] {
    const stalled: Stream[] = []
    let left = this.#held
    for (const stream of this.#holding) {
      if (left <= this.#options.limits.connectionWindow / 2 || now - stream.incoming.usedAt < PATIENCE_MS) break
      left -= stream.incoming.held
      stalled.push(stream)
    }
    return stalled
  }

  get #isRoomy(): boolean {
    return this.#held < this.#options.limits.connectionWindow / 4
  }

  #giveBack(bytes: number): void {
    this.#unacknowledged += bytes
    if (this.#unacknowledged < this.#options.limits.connectionWindow / 4) return
    this.#window += this.#unacknowledged
    this.#options.send.add(FRAME.window, 0, encodeWindow(this.#unacknowledged))
    this.#unacknowledged = 0
  }

  #widen(id: number, incoming: Incoming): void {
    const { clock, limits, send } = this.#options
    const now = clock.now()
    let more = incoming.unacknowledged
    if (incoming.size < limits.maxStreamWindow && this.#isRoomy && now - incoming.widenedAt < FAST_MS) {
      const size = Math.min(limits.maxStreamWindow, 2 * incoming.size)
      more += size - incoming.size
      incoming.size = size
    }
    incoming.widenedAt = now
    incoming.unacknowledged = 0
    incoming.window += more
    send.add(FRAME.window, id, encodeWindow(more))
  }
}

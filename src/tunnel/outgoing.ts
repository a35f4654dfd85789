/** Above this many bytes on one stream a writer is asked to wait. */
const HIGH_WATER_BYTES = 64 * 1024
/** A writer that does not wait is not let further than this. */
const MOST_BYTES = 32 * 1024 * 1024

const NOTHING = Buffer.alloc(0)

/** The sending half of a stream: what waits to go out, and how much of it may. */
export class Outgoing {
  readonly id: number
  /** What the other end takes on this stream at present. */
  credit: number
  queuedBytes = 0
  /** Nothing is added any more; the END flag is still to go out. */
  isEnding = false
  isEnded = false
  readonly #queue: Uint8Array[] = []
  #first = 0
  #offset = 0
  #waiting: PromiseWithResolvers<void> | undefined
  /** Since when bytes wait and none goes out; undefined while none waits. */
  stuckSince: number | undefined

  constructor(id: number, credit: number) {
    this.id = id
    this.credit = credit
  }

  get isFull(): boolean {
    return this.queuedBytes >= HIGH_WATER_BYTES
  }

  /** False when the writer went on in spite of everything, so that the stream has to be given up. */
  push(chunk: Uint8Array): boolean {
    if (this.queuedBytes > 0 && this.queuedBytes + chunk.byteLength > MOST_BYTES) return false
    this.#queue.push(chunk)
    this.queuedBytes += chunk.byteLength
    return true
  }

  /** Up to `most` bytes from the front, of one chunk. */
  take(most: number): Uint8Array {
    const chunk = this.#queue[this.#first]
    if (!chunk || most <= 0) return NOTHING
    const end = Math.min(chunk.byteLength, this.#offset + most)
    const taken = this.#offset === 0 && end === chunk.byteLength ? chunk : chunk.subarray(this.#offset, end)
    this.queuedBytes -= taken.byteLength
    if (end < chunk.byteLength) this.#offset = end
    else this.#shift()
    return taken
  }

  /** Whether a frame could go out now, given what the whole tunnel may send. */
  canSend(tunnelCredit: number): boolean {
    if (this.isEnded) return false
    return this.queuedBytes > 0 ? this.credit > 0 && tunnelCredit > 0 : this.isEnding
  }

  /** Settles when there is room, or when the stream is over. */
  drained(): Promise<void> {
    if (!this.isFull) return Promise.resolve()
    this.#waiting ??= Promise.withResolvers()
    return this.#waiting.promise
  }

  /** Tells the writer when there is room again. */
  settle(): void {
    if (this.isFull || !this.#waiting) return
    this.#waiting.resolve()
    this.#waiting = undefined
  }

  /** Forgets what waits. */
  drop(): void {
    this.#queue.length = 0
    this.#first = 0
    this.#offset = 0
    this.queuedBytes = 0
    this.isEnding = true
    this.isEnded = true
    this.stuckSince = undefined
    this.settle()
  }

  #shift(): void {
    this.#offset = 0
    this.#queue[this.#first] = NOTHING
    this.#first += 1
    if (this.#first < this.#queue.length && this.#first < 1024) return
    this.#queue.splice(0, this.#first)
    this.#first = 0
  }
}

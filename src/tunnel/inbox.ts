import type { Answer } from '../lib/http-exchange.ts'
import type { Stream } from './stream.ts'

/** Parts that wait are put together up to this size, so that many small ones do not cost more than their bytes. */
const MERGED_BYTES = 16 * 1024

/** Passes an answer from a stream on to its client at the client's pace; what the client does not take stays here, within the stream's window. */
export class Inbox {
  readonly #stream: Stream
  readonly #answer: Answer
  readonly #waiting: Buffer[] = []
  /** How much of the last one that waits is in use. */
  #lastBytes = 0
  #isFlowing = true
  #isEnded = false
  #isClosed = false

  constructor(stream: Stream, answer: Answer) {
    this.#stream = stream
    this.#answer = answer
  }

  /** @param isEnd the answer is whole with it. */
  push(part: Buffer, isEnd: boolean): void {
    if (this.#isClosed) return
    this.#isEnded = isEnd
    if (!this.#isFlowing) {
      if (part.length > 0) this.#keep(part)
    } else if (isEnd) this.#finish(part)
    else this.#write(part)
  }

  /** Forgets what waits. */
  close(): void {
    this.#isClosed = true
    this.#waiting.length = 0
  }

  #finish(part: Buffer): void {
    this.#isClosed = true
    if (part.length > 0) this.#answer.end(part)
    else this.#answer.end()
    this.#stream.consumed(part.length)
  }

  #write(part: Buffer): void {
    if (this.#answer.write(part)) return this.#stream.consumed(part.length)
    this.#waitFor(part.length)
  }

  /** For a client that has still to take so many bytes. */
  #waitFor(bytes: number): void {
    this.#isFlowing = false
    const flow = (): void => this.#flow(bytes)
    this.#answer.drained().then(flow, flow)
  }

  /** The client has taken what it was given, or is gone. What waits is here already: all of it goes on at once, to be waited for once. */
  #flow(taken: number): void {
    if (this.#isClosed) return
    this.#stream.consumed(taken)
    this.#isFlowing = true
    let given = 0
    let isSlow = false
    while (this.#waiting.length > 0) {
      const next = this.#take()
      if (this.#waiting.length === 0 && this.#isEnded) {
        this.#stream.consumed(given)
        return this.#finish(next)
      }
      given += next.length
      if (!this.#answer.write(next)) isSlow = true
    }
    if (this.#isEnded) return this.#finish(NOTHING)
    if (isSlow) this.#waitFor(given)
    else this.#stream.consumed(given)
  }

  #take(): Buffer {
    const isLast = this.#waiting.length === 1
    const next = this.#waiting.shift() ?? NOTHING
    return isLast ? next.subarray(0, this.#lastBytes) : next
  }

  #keep(part: Buffer): void {
    const place = this.#waiting.length - 1
    const last = this.#waiting[place]
    if (last && last.length - this.#lastBytes >= part.length) {
      part.copy(last, this.#lastBytes)
      this.#lastBytes += part.length
      return
    }
    if (last) this.#waiting[place] = last.subarray(0, this.#lastBytes)
    // A small part may sit in a large piece of memory, which it would keep.
    const kept = part.length < MERGED_BYTES ? Buffer.allocUnsafeSlow(MERGED_BYTES) : part
    if (kept !== part) part.copy(kept)
    this.#waiting.push(kept)
    this.#lastBytes = part.length
  }
}

const NOTHING = Buffer.alloc(0)

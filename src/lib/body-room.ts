import { AppError } from './errors.ts'

/** As much of a body is never counted: what is small is always served. */
const SMALL_BODY_BYTES = 64 * 1024

/** Room in memory for the large bodies of all requests that came and have no answer yet, of which each sender may have a share. */
export class BodyRoom {
  readonly #shareBytes: number
  /** What senders have now. */
  readonly #taken = new Map<string, number>()
  #leftBytes: number

  constructor(maxBytes: number, shareBytes = maxBytes) {
    this.#leftBytes = maxBytes
    this.#shareBytes = shareBytes
  }

  /** False when there is not so much left, or not for this sender; then nothing is taken. */
  take(bytes: number, sender: string): boolean {
    const taken = this.#taken.get(sender) ?? 0
    if (bytes > this.#leftBytes || taken + bytes > this.#shareBytes) return false
    this.#leftBytes -= bytes
    this.#taken.set(sender, taken + bytes)
    return true
  }

  /** What was taken before by the same sender. */
  give(bytes: number, sender: string): void {
    this.#leftBytes += bytes
    const taken = (this.#taken.get(sender) ?? 0) - bytes
    if (taken > 0) this.#taken.set(sender, taken)
    else this.#taken.delete(sender)
  }
}

/** What one request has of it at a time. */
export class HeldBody {
  readonly #room: BodyRoom
  #sender: string | undefined
  #bytes = 0

  constructor(room: BodyRoom) {
    this.#room = room
  }

  /**
   * Whether there is room for so many bytes behind those that came before.
   * @param senderOf who sends it all; asked once, when it turns out to be large.
   */
  hold(before: number, bytes: number, senderOf: () => string): boolean {
    if (before + bytes <= SMALL_BODY_BYTES) return true
    this.#sender ??= senderOf()
    if (!this.#room.take(bytes, this.#sender)) return false
    this.#bytes += bytes
    return true
  }

  letGo(): void {
    if (this.#sender !== undefined) this.#room.give(this.#bytes, this.#sender)
    this.#sender = undefined
    this.#bytes = 0
  }
}

/** For a request that finds no room (503). */
export function noRoom(): AppError {
  return new AppError('unavailable', 'the gateway holds as much of large requests as it may: send it again in a moment')
}

import { AppError } from './errors.ts'

/** As much of a body is never counted: what is small is always served. */
const SMALL_BODY_BYTES = 64 * 1024

/** Room in memory for the large bodies of all requests that came and have no answer yet. */
export class BodyRoom {
  #leftBytes: number

  constructor(maxBytes: number) {
    this.#leftBytes = maxBytes
  }

  /** False when there is not so much left; then nothing is taken. */
  take(bytes: number): boolean {
    if (bytes > this.#leftBytes) return false
    this.#leftBytes -= bytes
    return true
  }

  /** What was taken before. */
  give(bytes: number): void {
    this.#leftBytes += bytes
  }
}

/** What one request has of it at a time. */
export class HeldBody {
  readonly #room: BodyRoom
  #bytes = 0

  constructor(room: BodyRoom) {
    this.#room = room
  }

  /** Whether there is room for so many bytes behind those that came before. */
  hold(before: number, bytes: number): boolean {
    if (before + bytes <= SMALL_BODY_BYTES) return true
    if (!this.#room.take(bytes)) return false
    this.#bytes += bytes
    return true
  }

  letGo(): void {
    this.#room.give(this.#bytes)
    this.#bytes = 0
  }
}

/** For a request that finds no room (503). */
export function noRoom(): AppError {
  return new AppError('unavailable', 'the gateway holds as much of large requests as it may: send it again in a moment')
}

import type { Opening } from './peer.ts'

/** Different ones that are remembered, and characters of one: those of one program on one machine are all the same. */
const MAX_KEPT = 1000
const MAX_LENGTH = 4096

/** Gives sessions that were opened with the same words one copy of them. */
export class Openings {
  readonly #kept = new Map<string, Opening>()

  shared(opening: Opening): Opening {
    const key = JSON.stringify(opening)
    if (key.length > MAX_LENGTH) return opening
    const known = this.#kept.get(key)
    if (known) return known
    if (this.#kept.size >= MAX_KEPT) this.#kept.clear()
    this.#kept.set(key, opening)
    return opening
  }
}

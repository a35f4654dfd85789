import { createHmac, timingSafeEqual } from 'node:crypto'

const WINDOW_MS = 2 * 60_000

/**
 * What a proof may have in it to show that it was made just now (RFC 9449 section 9), whatever the clock of its maker says. Nothing is kept: every
 * process of the cluster makes the same at the same time.
 */
export class DpopNonces {
  /** For as long a nonce is good at most, ms. */
  static readonly LONGEST_MS = 2 * WINDOW_MS
  readonly #key: Buffer
  readonly #now: () => number

  /** @param now ms since 1970. */
  constructor(key: Buffer, now: () => number) {
    this.#key = key
    this.#now = now
  }

  current(): string {
    return this.#at(this.#window())
  }

  /** Whether it is one of now, or was so a moment ago. */
  isGood(nonce: string): boolean {
    const window = this.#window()
    return [window, window - 1].some((each) => isSame(nonce, this.#at(each)))
  }

  #window(): number {
    return Math.floor(this.#now() / WINDOW_MS)
  }

  #at(window: number): string {
    return createHmac('sha256', this.#key).update(String(window)).digest('base64url')
  }
}

function isSame(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)]
  return a.length === b.length && timingSafeEqual(a, b)
}

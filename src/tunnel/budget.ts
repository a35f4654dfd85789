/** So many at once, and so many more each second: a bound on what is cheap to ask for and dear to do. */
export class Budget {
  readonly #burst: number
  readonly #perSecond: number
  #left: number
  #at: number

  constructor(burst: number, perSecond: number, now: number) {
    this.#burst = burst
    this.#perSecond = perSecond
    this.#left = burst
    this.#at = now
  }

  /** Whether there was one left, which is taken. */
  take(now: number): boolean {
    if (!this.has(now)) return false
    this.#left -= 1
    return true
  }

  has(now: number): boolean {
    this.#left = Math.min(this.#burst, this.#left + ((now - this.#at) / 1000) * this.#perSecond)
    this.#at = now
    return this.#left >= 1
  }
}

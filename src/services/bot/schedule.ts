/** A clock that stands this much before the moment of the last renewal has been set back. */
const SET_BACK_MS = 60_000
const SHORTEST_WAIT_MS = 30_000
const FIRST_RETRY_MS = 1000
const LONGEST_RETRY_MS = 60_000
/** Renewals of many bots that were started at one moment drift apart. */
const JITTER = 0.1

/** When one thing is to be renewed next. Times are milliseconds since 1970; `random` is in [0, 1). */
export class Schedule {
  readonly #intervalMs: number
  readonly #random: () => number
  #setAt = -Infinity
  #nextAt = -Infinity
  #failures = 0

  constructor(intervalMs: number, random: () => number) {
    this.#intervalMs = intervalMs
    this.#random = random
  }

  /** Also when the clock was set back: how long the credential has left cannot be told then. */
  isDue(now: number): boolean {
    return now >= this.#nextAt || now < this.#setAt - SET_BACK_MS
  }

  /** How long until it is due. */
  waitMs(now: number): number {
    return this.isDue(now) ? 0 : this.#nextAt - now
  }

  /** `expiresAt`: the cluster may have made it live shorter than was asked for. */
  succeeded(now: number, expiresAt: number): void {
    this.#failures = 0
    // By a clock that is wrong it may have ended already: that is no reason to ask all the time.
    const usable = Math.max(SHORTEST_WAIT_MS, ((expiresAt - now) * 2) / 3)
    this.#set(now, Math.min(this.#intervalMs, usable) * (1 - JITTER * this.#random()))
  }

  /** Again soon, each time later, at most a minute or the interval. */
  failed(now: number): void {
    const longest = Math.min(LONGEST_RETRY_MS, this.#intervalMs)
    const backoff = Math.min(longest, FIRST_RETRY_MS * 2 ** Math.min(this.#failures++, 16))
    this.#set(now, backoff * (0.5 + 0.5 * this.#random()))
  }

  /** Again at the next interval: asking sooner would be answered the same. */
  refused(now: number): void {
    this.#set(now, this.#intervalMs)
  }

  wake(): void {
    this.#nextAt = -Infinity
  }

  #set(now: number, waitMs: number): void {
    this.#setAt = now
    this.#nextAt = now + waitMs
  }
}

/** What is kept here, for as long as it is. */
interface Kept<T> {
  readonly size: number
  values(): Iterator<T>
}

/**
 * Goes round everything in a collection once in a period, a few at every step: what has to be done for each of ten thousand must not be
 * done for all of them at one moment. Newcomers have their turn in the same round. Nothing is remembered of any one of them.
 */
export class Rounds<T> {
  readonly #kept: Kept<T>
  readonly #periodMs: number
  #place: Iterator<T>
  #lastAt: number
  /** Turns that are due, times the period: whole numbers, so that none is lost to rounding. */
  #credit = 0
  /** The most there were in this round: when those who are visited go, the rest must not wait the longer. */
  #roundSize = 0

  /** @param kept a Map or Set, whose iterators go on when it changes; @param now milliseconds of the clock that `step` is told */
  constructor(kept: Kept<T>, periodMs: number, now: number) {
    this.#kept = kept
    this.#periodMs = periodMs
    this.#place = kept.values()
    this.#lastAt = now
  }

  /** Visits as many as are due since the last step: all of them, once, when that was a period or more ago. */
  step(now: number, visit: (one: T) => void): void {
    const { size } = this.#kept
    this.#roundSize = Math.max(this.#roundSize, size)
    this.#credit += this.#roundSize * Math.max(0, now - this.#lastAt)
    this.#lastAt = now
    const due = Math.min(size, Math.floor(this.#credit / this.#periodMs))
    // Whole rounds that were missed are not made up for.
    this.#credit %= this.#periodMs
    for (let visited = 0; visited < due; visited++) {
      const one = this.#next()
      if (one === undefined) return
      visit(one)
    }
  }

  #next(): T | undefined {
    const found = this.#place.next()
    if (!found.done) return found.value
    this.#place = this.#kept.values()
    this.#roundSize = this.#kept.size
    const first = this.#place.next()
    return first.done ? undefined : first.value
  }
}

/**
 * Milliseconds until all who step as often do: the process wakes up for a thousand of them as for one. At least half a step, so that a timer that
 * is a little early is not the next one too.
 */
export function untilCommonStep(stepMs: number, now: number): number {
  const left = stepMs - (now % stepMs)
  return left < stepMs / 2 ? left + stepMs : left
}

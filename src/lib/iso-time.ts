/** Renders one time after the other as `Date` does with `toISOString`, which takes a tenth of it where most are of the same second. */
export class IsoTimes {
  #second = Number.NaN
  /** Up to the point before the milliseconds. */
  #text = ''

  /** @param ms since 1970, whole. @throws RangeError for what is no time */
  render(ms: number): string {
    const second = Math.floor(ms / 1000)
    if (second !== this.#second) {
      this.#text = new Date(second * 1000).toISOString().slice(0, -'000Z'.length)
      this.#second = second
    }
    return `${this.#text}${String(ms - second * 1000).padStart(3, '0')}Z`
  }
}

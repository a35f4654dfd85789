/** What stands in a roster: it knows its place, and nobody else touches that. */
export interface Listed {
  place: number
}

/**
 * A set of things that come and go all the time, without order. A `Set` makes a new table every few deletions, and a table that has got old
 * keeps what was in it from being collected until the next full collection; here a place is filled again at once.
 */
export class Roster<T extends Listed> {
  readonly #items: T[] = []

  get size(): number {
    return this.#items.length
  }

  /** @param item that is in no roster. */
  add(item: T): void {
    item.place = this.#items.length
    this.#items.push(item)
  }

  /** False when it is not here. */
  delete(item: T): boolean {
    const { place } = item
    if (this.#items[place] !== item) return false
    const last = this.#items.pop()
    if (last !== undefined && last !== item) {
      this.#items[place] = last
      last.place = place
    }
    item.place = -1
    return true
  }

  find(isWanted: (item: T) => boolean): T | undefined {
    return this.#items.find(isWanted)
  }

  /** Those there are now. */
  list(): T[] {
    return [...this.#items]
  }
}

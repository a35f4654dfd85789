/** Finds what somebody owns without going through what everybody does. */
export class ByOwner<T extends { readonly owner: string }> {
  readonly #of = new Map<string, Set<T>>()

  add(one: T): void {
    const own = this.#of.get(one.owner)
    if (own) own.add(one)
    else this.#of.set(one.owner, new Set([one]))
  }

  delete(one: T): void {
    const own = this.#of.get(one.owner)
    if (own?.delete(one) && own.size === 0) this.#of.delete(one.owner)
  }

  countOf(owner: string): number {
    return this.#of.get(owner)?.size ?? 0
  }

  /** A copy: it may be changed while one goes through it. */
  of(owner: string): T[] {
    return [...(this.#of.get(owner) ?? [])]
  }
}

import type { ListKind } from '../list-kinds.ts'
import type { AggregateLimits } from './limits.ts'
import { methodsOf } from './lists.ts'

interface Kept<List> {
  list: List
  owner: string
}

/** What servers listed last, for each owner by itself: what one may see is nobody else's. The longest unused go first. */
export class KeptLists<List extends { bytes: number; fetchedAt: number }> {
  readonly #limits: AggregateLimits
  readonly #now: () => number
  readonly #lists = new Map<string, Kept<List>>()
  #bytes = 0

  constructor(limits: AggregateLimits, now: () => number) {
    this.#limits = limits
    this.#now = now
  }

  find(owner: string, era: string, server: string, method: string): List | undefined {
    const key = keyOf(owner, era, server, method)
    const kept = this.#lists.get(key)
    if (!kept || this.#now() - kept.list.fetchedAt > this.#limits.keptMs) return undefined
    this.#lists.delete(key)
    this.#lists.set(key, kept)
    return kept.list
  }

  keep(owner: string, era: string, server: string, method: string, list: List): void {
    const key = keyOf(owner, era, server, method)
    this.#drop(key)
    this.#lists.set(key, { list, owner })
    this.#bytes += list.bytes
    for (const oldest of this.#lists.keys()) {
      if (this.#lists.size <= this.#limits.keptLists && this.#bytes <= this.#limits.keptBytes) return
      this.#drop(oldest)
    }
  }

  /** Makes lists of one kind too old for whoever asks for recent ones. */
  age(owner: string, era: string, server: string, kind: ListKind): void {
    for (const method of methodsOf(kind)) {
      const kept = this.#lists.get(keyOf(owner, era, server, method))
      if (kept) kept.list = { ...kept.list, fetchedAt: Math.min(kept.list.fetchedAt, this.#now() - this.#limits.keptMs / 2) }
    }
  }

  drop(owner: string, era: string, server: string, method: string): void {
    this.#drop(keyOf(owner, era, server, method))
  }

  forget(owner: string | undefined): void {
    for (const [key, kept] of this.#lists) if (owner === undefined || kept.owner === owner) this.#drop(key)
  }

  sweep(): void {
    for (const [key, { list }] of this.#lists) if (this.#now() - list.fetchedAt > this.#limits.keptMs) this.#drop(key)
  }

  #drop(key: string): void {
    const kept = this.#lists.get(key)
    if (kept) this.#bytes -= kept.list.bytes
    this.#lists.delete(key)
  }
}

function keyOf(...parts: readonly string[]): string {
  return JSON.stringify(parts)
}

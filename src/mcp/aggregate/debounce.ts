import type { ListKind } from '../list-kinds.ts'
import type { Timers } from '../../lib/timers.ts'

/** Tells of several changes that come close together once, for each kind of list. */
export class Debounce {
  readonly #timers: Timers
  readonly #ms: number
  readonly #tell: (kind: ListKind) => void
  #waiting: Map<ListKind, () => void> | undefined

  constructor(timers: Timers, ms: number, tell: (kind: ListKind) => void) {
    this.#timers = timers
    this.#ms = ms
    this.#tell = tell
  }

  changed(kind: ListKind): void {
    const waiting = (this.#waiting ??= new Map<ListKind, () => void>())
    if (waiting.has(kind)) return
    waiting.set(
      kind,
      this.#timers.after(this.#ms, () => {
        waiting.delete(kind)
        this.#tell(kind)
      }),
    )
  }

  close(): void {
    for (const cancel of this.#waiting?.values() ?? []) cancel()
    this.#waiting?.clear()
  }
}

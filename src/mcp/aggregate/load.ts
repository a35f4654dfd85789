import { AppError } from '../../lib/errors.ts'
import type { AggregateLimits } from './limits.ts'

/** Requests that have no answer yet, counted for each owner and in all. */
export class Load {
  readonly #limits: AggregateLimits
  readonly #byOwner = new Map<string, number>()
  #total = 0

  constructor(limits: AggregateLimits) {
    this.#limits = limits
  }

  /** Counts a request until the returned function is called. @throws AppError resource_exhausted. */
  begin(owner: string): () => void {
    const mine = this.#byOwner.get(owner) ?? 0
    if (mine >= this.#limits.requestsPerOwner || this.#total >= this.#limits.requests)
      throw new AppError('resource_exhausted', 'too many requests have no answer yet: wait, or cancel some')
    this.#count(owner, 1)
    return () => this.#count(owner, -1)
  }

  #count(owner: string, step: number): void {
    this.#total += step
    const left = (this.#byOwner.get(owner) ?? 0) + step
    if (left > 0) this.#byOwner.set(owner, left)
    else this.#byOwner.delete(owner)
  }
}

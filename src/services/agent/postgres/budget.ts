import { AppError } from '../../../lib/errors.ts'

/** How many connections to databases there are, of each caller and in all. */
export class ConnectionBudget {
  readonly #perCaller: number
  readonly #total: number
  readonly #taken = new Map<string, number>()
  #sum = 0

  constructor({ perCaller, total }: { perCaller: number; total: number }) {
    this.#perCaller = perCaller
    this.#total = total
  }

  /** Reserves one; returns what gives it back, once. @throws AppError resource_exhausted. */
  take(owner: string): () => void {
    const mine = this.#taken.get(owner) ?? 0
    if (mine >= this.#perCaller)
      throw new AppError('resource_exhausted', `you have ${mine} connections to databases already: wait for a statement to end`)
    if (this.#sum >= this.#total) throw new AppError('resource_exhausted', 'there are too many connections to databases now: try again')
    this.#taken.set(owner, mine + 1)
    this.#sum += 1
    let isGiven = false
    return () => {
      if (isGiven) return
      isGiven = true
      this.#sum -= 1
      const left = (this.#taken.get(owner) ?? 1) - 1
      if (left > 0) this.#taken.set(owner, left)
      else this.#taken.delete(owner)
    }
  }
}

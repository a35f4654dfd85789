/** Something that is wrong with one server, for its author or administrator. */
export interface HealthRecord {
  server: string
  problem: string
  /** Milliseconds since 1970. */
  since: number
}

const MAX_RECORDS = 1000
const MAX_CHARS = 500

/** What is wrong with servers now. */
export class Health {
  readonly #now: () => number
  readonly #records = new Map<string, HealthRecord>()

  constructor(now: () => number) {
    this.#now = now
  }

  /** What is wrong in one respect; undefined when nothing is any more. A problem that lasts keeps its time. */
  note(server: string, topic: string, problem: string | undefined): void {
    const key = JSON.stringify([server, topic])
    const known = this.#records.get(key)
    const text = problem?.slice(0, MAX_CHARS)
    if (text !== undefined && known?.problem === text) return
    this.#records.delete(key)
    if (text === undefined) return
    this.#records.set(key, { server, problem: text, since: this.#now() })
    const [oldest] = this.#records.keys()
    if (this.#records.size > MAX_RECORDS && oldest !== undefined) this.#records.delete(oldest)
  }

  /** Oldest first. */
  list(): readonly HealthRecord[] {
    return [...this.#records.values()]
  }
}

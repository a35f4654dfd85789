import type { Logger } from '../../lib/log.ts'

/** Something that is wrong with one server, for its author or administrator. */
export interface HealthRecord {
  server: string
  /** In which respect: `initialize` or a list such as `tools/list` when these fail, `tools/list items` for what is left out of a list. */
  topic: string
  problem: string
  /** Whose client met it. What a server says to one is not for another, so nobody else is told more than that there is something. */
  owner: string
  /** Milliseconds since 1970. */
  since: number
  /** How many items are left out; 1 when it is something else. */
  count: number
}

interface Kept extends HealthRecord {
  metAt: number
  /** When somebody found nothing wrong any more; undefined while it is. */
  goneAt: number | undefined
}

const MAX_RECORDS = 1000
const MAX_CHARS = 500
/**
 * What is gone for so long is no longer in quarantine. One caller may see a server's broken tool while another, who may not use that tool,
 * finds nothing wrong: their lists in turn are no news.
 */
const GONE_MS = 10 * 60_000
/** What nobody met for so long is not known any more: the server may not even be there. */
const UNMET_MS = 24 * 60 * 60_000

/** What is wrong with servers. What enters or leaves quarantine is logged, once. */
export class Health {
  readonly #now: () => number
  readonly #log: Logger
  readonly #records = new Map<string, Kept>()

  constructor(now: () => number, log: Logger) {
    this.#now = now
    this.#log = log
  }

  /** What is wrong in one respect; undefined when nothing is any more. A problem that lasts keeps its time. */
  note(owner: string, server: string, topic: string, problem: string | undefined, count = 1): void {
    const key = JSON.stringify([server, topic])
    const known = this.#records.get(key)
    const now = this.#now()
    const text = problem?.slice(0, MAX_CHARS)
    if (text === undefined) {
      if (known) known.goneAt ??= now
      return
    }
    const isSame = known?.goneAt === undefined && known?.problem === text
    const since = isSame ? known.since : now
    if (!isSame) this.#records.delete(key)
    this.#records.set(key, { server, topic, problem: text, owner, since, count, metAt: now, goneAt: undefined })
    if (!known) this.#log.warn('MCP server: in quarantine', { server, what: topic, reason: text })
    const [[oldest, evicted] = []] = this.#records
    if (this.#records.size > MAX_RECORDS && oldest !== undefined && evicted) this.#leave(oldest, evicted)
  }

  /** What is wrong now, as the last to look found; oldest first. */
  list(): readonly HealthRecord[] {
    return [...this.#records.values()].filter(({ goneAt }) => goneAt === undefined)
  }

  /** What is wrong for any caller, as far as is known; oldest first. */
  quarantine(): readonly HealthRecord[] {
    return [...this.#records.values()]
  }

  /** To be called from time to time. */
  sweep(): void {
    const now = this.#now()
    for (const [key, kept] of this.#records) {
      const { goneAt = Number.POSITIVE_INFINITY, metAt } = kept
      if (now - goneAt >= GONE_MS || now - metAt >= UNMET_MS) this.#leave(key, kept)
    }
  }

  #leave(key: string, { server, topic }: HealthRecord): void {
    this.#records.delete(key)
    this.#log.info('MCP server: out of quarantine', { server, what: topic })
  }
}

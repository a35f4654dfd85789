import type { ApiClient } from '../../client/call.ts'
import { assignNames, findName, type NamedKind } from '../../client/mcp-names.ts'
import { isNameable } from '../../lib/exposed-name.ts'
import { realTimers, type Timers } from '../../lib/timers.ts'
import { answeredSoon } from './deadline.ts'

/** Of up to 1 KiB each. */
const MAX_KEPT = 20_000

interface Target {
  server: string
  original: string
}

/** The exposed names that the Auth Service gave, which never change: what was asked for lately is kept here. */
export class ExposedNames {
  readonly #api: ApiClient
  readonly #timers: Timers
  /** `what server original` → name, null for one that gets none. */
  readonly #names = new Map<string, string | null>()
  /** `what name` → what it stands for. */
  readonly #targets = new Map<string, Target>()
  /** `what server` → the last question under way, after which the next one may find its answer kept. */
  readonly #asking = new Map<string, Promise<unknown>>()

  constructor(api: ApiClient, timers: Timers = realTimers) {
    this.#api = api
    this.#timers = timers
  }

  /** In the order asked; undefined for one that has no place. @throws AppError unavailable. */
  async namesFor(server: string, what: NamedKind, originals: readonly string[]): Promise<(string | undefined)[]> {
    const keyOf = (original: string): string => `${what} ${server} ${original}`
    const given = new Map<string, string | null>()
    const isMissing = (original: string): boolean => {
      const kept = this.#names.get(keyOf(original))
      if (kept === undefined) return isNameable(original)
      remember(this.#names, keyOf(original), kept)
      given.set(original, kept)
      return false
    }
    if (originals.some(isMissing)) {
      await this.#inTurn(`${what} ${server}`, async () => {
        const missing = [...new Set(originals)].filter(isMissing)
        if (missing.length === 0) return
        const names = await answeredSoon(this.#timers, assignNames(this.#api, { server, what, originals: missing }))
        for (const [index, original] of missing.entries()) {
          const name = names[index] ?? null
          given.set(original, name)
          remember(this.#names, keyOf(original), name)
          if (name !== null) remember(this.#targets, `${what} ${name}`, { server, original })
        }
      })
    }
    return originals.map((original) => given.get(original) ?? undefined)
  }

  /** What an exposed name stands for; a name that nobody has yet is asked for again the next time. @throws AppError unavailable. */
  async findName(what: NamedKind, exposed: string): Promise<Target | undefined> {
    const key = `${what} ${exposed}`
    const kept =
      this.#targets.get(key) ?? (exposed.length <= 1024 ? await answeredSoon(this.#timers, findName(this.#api, what, exposed)) : undefined)
    if (kept) remember(this.#targets, key, kept)
    return kept
  }

  /** What waits longer than an answer may take is not asked at all: after a silence of the Auth Service nobody stands behind those who left. */
  async #inTurn(key: string, ask: () => Promise<void>): Promise<void> {
    let isAwaited = true
    const askIfAwaited = async (): Promise<void> => (isAwaited ? ask() : undefined)
    const before = this.#asking.get(key) ?? Promise.resolve()
    const mine = before.then(askIfAwaited, askIfAwaited).finally(() => {
      if (this.#asking.get(key) === mine) this.#asking.delete(key)
    })
    this.#asking.set(key, mine)
    try {
      await answeredSoon(this.#timers, mine)
    } finally {
      isAwaited = false
    }
  }
}

/** The last used are kept. */
function remember<V>(kept: Map<string, V>, key: string, value: V): void {
  kept.delete(key)
  kept.set(key, value)
  for (const oldest of kept.keys()) {
    if (kept.size <= MAX_KEPT) return
    kept.delete(oldest)
  }
}

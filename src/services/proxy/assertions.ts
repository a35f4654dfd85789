import { setTimeout as sleep } from 'node:timers/promises'
import { fetchAssertion } from '../../client/servers.ts'
import type { ApiClient } from '../../client/call.ts'
import type { Change, ResourceFeed } from '../../resources/feed.ts'
import { renderMcpEndpoint } from '../../resources/mcp-endpoint.ts'

/** An assertion this close to its end is not handed out any more. */
const MARGIN_MS = 30_000
const MAX_KEPT = 10_000
/** How often an exchange is begun again because something changed meanwhile. */
const MAX_ATTEMPTS = 5

interface Kept {
  assertion: string
  expiresAt: number
  /** Of the changes known when it was asked for. */
  generation: number
}

export interface AssertionsOptions {
  /** A client of the Auth Service that calls with this credential of the caller's, not with one of ours. */
  clientFor(token: string, remoteAddress: string, endpoint: string): ApiClient
  feed: ResourceFeed
  /** How long other processes of the cluster, and agents by them, may take to hear of a change, ms: what is issued meanwhile they may not take. */
  settleMs?: number
  now: () => number
}

/**
 * Exchanges the tokens clients present for route assertions, one call to the Auth Service per token and server. Everything kept is
 * dropped when a user, lock or credential changes, so that what is kept never outlives what it rests on.
 */
export class Assertions {
  readonly #options: AssertionsOptions
  readonly #kept = new Map<string, Kept>()
  readonly #pending = new Map<string, Promise<Kept>>()
  readonly #unsubscribe: () => void
  /** Counts such changes: what was asked for before one is not kept after it. */
  #generation = 0
  #changedAt = 0

  constructor(options: AssertionsOptions) {
    this.#options = options
    this.#unsubscribe = options.feed.subscribe((change) => {
      if (!concernsCallers(change)) return
      this.#generation += 1
      this.#changedAt = options.now()
      this.#kept.clear()
      this.#pending.clear()
    })
  }

  /** The one that is kept, if it is good for a while yet. @param endpoint as for `get`. */
  find(token: string, server: string, endpoint?: string): string | undefined {
    return this.#findKept(keyOf(token, server, endpoint))
  }

  #findKept(key: string): string | undefined {
    const kept = this.#kept.get(key)
    return kept && kept.expiresAt - MARGIN_MS > this.#options.now() ? kept.assertion : undefined
  }

  /**
   * @param endpoint path of the MCP endpoint at which the token was presented: some tokens are for one only; that of the server unless told.
   * @throws AppError as the Auth Service refuses: unauthenticated, permission_denied, not_found.
   */
  async get(token: string, server: string, remoteAddress: string, endpoint?: string): Promise<string> {
    const key = keyOf(token, server, endpoint)
    const known = this.#findKept(key)
    if (known !== undefined) return known
    const at = endpoint ?? renderMcpEndpoint({ type: 'app', name: server })
    const pending = this.#pending.get(key) ?? this.#fetch(key, server, this.#options.clientFor(token, remoteAddress, at))
    return (await pending).assertion
  }

  /**
   * Hands this one out no more: an agent did not take it. It may have heard of a change, from another process, only after this was issued, and
   * then cannot tell it from what was issued before.
   */
  forget(assertion: string): void {
    for (const [key, kept] of this.#kept) if (kept.assertion === assertion) this.#kept.delete(key)
  }

  async #fetch(key: string, server: string, api: ApiClient): Promise<Kept> {
    const fetching = this.#fetchCurrent(server, api)
    this.#pending.set(key, fetching)
    try {
      const kept = await fetching
      if (kept.generation === this.#generation) this.#keep(key, kept)
      return kept
    } finally {
      if (this.#pending.get(key) === fetching) this.#pending.delete(key)
    }
  }

  /** One that was issued after the last change, by its time stamp too: agents refuse one of the same millisecond. */
  async #fetchCurrent(server: string, api: ApiClient): Promise<Kept> {
    const { settleMs = 0 } = this.#options
    const settling = this.#changedAt + settleMs - this.#options.now()
    if (settling > 0) await sleep(Math.min(settling, settleMs))
    for (let attempt = 1; ; attempt++) {
      for (let waited = 0; this.#options.now() <= this.#changedAt && waited < MAX_ATTEMPTS; waited++) await sleep(1)
      const generation = this.#generation
      const { token: assertion, expiresAt } = await fetchAssertion(api, server)
      if (generation === this.#generation || attempt === MAX_ATTEMPTS) return { assertion, expiresAt, generation }
    }
  }

  #keep(key: string, kept: Kept): void {
    this.#kept.delete(key)
    this.#kept.set(key, kept)
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= MAX_KEPT) return
      this.#kept.delete(oldest)
    }
  }

  close(): void {
    this.#unsubscribe()
    this.#kept.clear()
  }
}

function keyOf(token: string, server: string, endpoint: string | undefined): string {
  return endpoint === undefined ? `${server} ${token}` : `${server} ${token} ${endpoint}`
}

const DECIDING: ReadonlySet<string> = new Set(['user', 'bot', 'lock', 'role', 'app', 'db', 'app_auth_config'])

function concernsCallers(change: Change): boolean {
  return change.type === 'revoked' ? change.kind !== 'upstream_sign_in' : DECIDING.has(change.kind)
}

import type { ApiClient } from '../../client/call.ts'
import { fetchIdentityToken, type IdentityTokenType } from '../../client/agent.ts'
import type { Caller } from '../../mcp/caller.ts'

/** A token this close to its end is not sent any more: the server's clock may be ahead. */
const MARGIN_MS = 60_000
const MAX_KEPT = 10_000

interface Kept {
  token: string
  expiresAt: number
}

/** What MCP servers are told of callers, signed by the Auth Service: one call for each assertion and server, since each has its own. */
export class IdentityTokens {
  readonly #api: ApiClient
  readonly #now: () => number
  readonly #kept = new Map<string, Kept>()
  readonly #pending = new Map<string, Promise<string>>()

  constructor(api: ApiClient, now: () => number) {
    this.#api = api
    this.#now = now
  }

  /** The promise rejects as the Auth Service refuses: unauthenticated, permission_denied for a lock, unavailable. */
  get(type: IdentityTokenType, server: string, { assertion }: Pick<Caller, 'assertion'>): string | Promise<string> {
    const key = `${type} ${server} ${assertion}`
    const kept = this.#kept.get(key)
    if (kept && kept.expiresAt - MARGIN_MS > this.#now()) return kept.token
    const pending = this.#pending.get(key) ?? this.#fetch(key, { type, server, assertion })
    this.#pending.set(key, pending)
    return pending
  }

  async #fetch(key: string, wanted: { type: IdentityTokenType; server: string; assertion: string }): Promise<string> {
    try {
      const kept = await fetchIdentityToken(this.#api, wanted)
      this.#keep(key, kept)
      return kept.token
    } finally {
      this.#pending.delete(key)
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
}

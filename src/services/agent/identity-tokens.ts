import type { ApiClient } from '../../client/call.ts'
import { fetchIdentityToken, type IdentityTokenType } from '../../client/agent.ts'
import type { Caller } from '../../mcp/caller.ts'

/** A token this close to its end is not sent any more: the server's clock may be ahead. */
const MARGIN_MS = 60_000
const MAX_KEPT = 10_000

interface Kept {
  type: IdentityTokenType
  server: string
  token: string
  expiresAt: number
}

/** What MCP servers are told of callers, signed by the Auth Service: one call for each assertion and server, since each has its own. */
export class IdentityTokens {
  readonly #api: ApiClient
  readonly #now: () => number
  /** By assertion, which is the same text object for all calls of a caller: a key made of it would have to be hashed for each. */
  readonly #kept = new Map<string, Kept[]>()
  readonly #pending = new Map<string, Promise<string>>()

  constructor(api: ApiClient, now: () => number) {
    this.#api = api
    this.#now = now
  }

  /** The promise rejects as the Auth Service refuses: unauthenticated, permission_denied for a lock, unavailable. */
  get(type: IdentityTokenType, server: string, { assertion }: Pick<Caller, 'assertion'>): string | Promise<string> {
    const kept = this.#kept.get(assertion)?.find((one) => one.type === type && one.server === server)
    if (kept && kept.expiresAt - MARGIN_MS > this.#now()) return kept.token
    const key = `${type} ${server} ${assertion}`
    const pending = this.#pending.get(key) ?? this.#fetch(key, { type, server, assertion })
    this.#pending.set(key, pending)
    return pending
  }

  async #fetch(key: string, wanted: { type: IdentityTokenType; server: string; assertion: string }): Promise<string> {
    try {
      const { token, expiresAt } = await fetchIdentityToken(this.#api, wanted)
      this.#keep(wanted.assertion, { type: wanted.type, server: wanted.server, token, expiresAt })
      return token
    } finally {
      this.#pending.delete(key)
    }
  }

  #keep(assertion: string, kept: Kept): void {
    const others = this.#kept.get(assertion)?.filter(({ type, server }) => type !== kept.type || server !== kept.server) ?? []
    this.#kept.delete(assertion)
    this.#kept.set(assertion, [kept, ...others])
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= MAX_KEPT) return
      this.#kept.delete(oldest)
    }
  }
}

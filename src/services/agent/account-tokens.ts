import { fetchUpstreamToken } from '../../client/agent.ts'
import type { ApiClient } from '../../client/call.ts'
import type { Caller } from '../../mcp/caller.ts'
import { ownerOf } from '../../mcp/caller.ts'
import type { App } from '../../resources/app.ts'
import type { Change } from '../../resources/feed.ts'

/** One this close to its end is asked for anew. */
const MARGIN_MS = 60_000
const MAX_KEPT = 10_000

interface Kept {
  id: string
  token: string
  expiresAt: number
}

/** Tokens of callers at MCP servers where they have accounts of their own; in memory only. Each is asked for with the caller's own assertion. */
export class AccountTokens {
  readonly #api: ApiClient
  readonly #now: () => number
  readonly #kept = new Map<string, Kept>()
  readonly #pending = new Map<string, Promise<string>>()
  /** Tokens that their server did not take, by whose they are. */
  readonly #refused = new Map<string, string>()

  constructor(api: ApiClient, now: () => number) {
    this.#api = api
    this.#now = now
  }

  /** The promise rejects as the Auth Service says: failed_precondition with the detail `account_url` where the person has to sign in. */
  get(app: App, caller: Caller): string | Promise<string> {
    const key = keyOf(app, caller)
    const kept = this.#kept.get(key)
    if (kept && kept.expiresAt - MARGIN_MS > this.#now()) return kept.token
    const pending = this.#pending.get(key) ?? this.#fetch(key, app, caller.assertion)
    this.#pending.set(key, pending)
    return pending
  }

  /** The server did not take a token: what is asked for next is another one, or says why there is none. */
  refused(app: App, caller: Caller, token: string): void {
    const key = keyOf(app, caller)
    bounded(this.#refused, key, token)
    if (this.#kept.get(key)?.token === token) this.#kept.delete(key)
  }

  apply(change: Change): void {
    if (change.type !== 'revoked' || change.kind !== 'upstream_account') return
    for (const [key, { id }] of this.#kept) if (id === change.name) this.#kept.delete(key)
    // What is on its way may be of it.
    this.#pending.clear()
  }

  #fetch(key: string, { metadata, spec }: App, assertion: string): Promise<string> {
    const isCurrent = (): boolean => this.#pending.get(key) === fetching
    const wanted = { server: metadata.name, uri: spec.uri, assertion, refused: this.#refused.get(key) }
    const fetching = this.#fetchNow(key, wanted, isCurrent)
    return fetching
  }

  async #fetchNow(key: string, wanted: Parameters<typeof fetchUpstreamToken>[1], isCurrent: () => boolean): Promise<string> {
    try {
      const kept = await fetchUpstreamToken(this.#api, wanted)
      if (isCurrent()) bounded(this.#kept, key, kept)
      return kept.token
    } finally {
      if (isCurrent()) this.#pending.delete(key)
    }
  }
}

/** By address too: what is for one place goes to no other. By credential too: what one may is not what another may. */
function keyOf({ metadata, spec }: App, { identity }: Caller): string {
  return JSON.stringify([metadata.name, spec.uri, ownerOf(identity), identity.credentialId])
}

function bounded<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key)
  map.set(key, value)
  for (const oldest of map.keys()) {
    if (map.size <= MAX_KEPT) return
    map.delete(oldest)
  }
}

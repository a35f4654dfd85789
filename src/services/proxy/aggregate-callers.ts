import type { ApiClient } from '../../client/call.ts'
import { fetchServers } from '../../client/servers.ts'
import { fetchCaller } from '../../client/admin.ts'
import { type AppError, type Code, toAppError } from '../../lib/errors.ts'
import { realTimers, type Timers } from '../../lib/timers.ts'
import { labelsOf } from '../../resources/app.ts'
import type { Labels } from '../../resources/envelope.ts'
import { parseResource } from '../../resources/registry.ts'
import { answeredSoon } from './deadline.ts'

const MAX_KEPT = 10_000
/** Nothing is believed for longer, whatever was missed. */
const MAX_AGE_MS = 5 * 60_000
/** How often a question is asked again because something changed meanwhile. */
const MAX_ATTEMPTS = 5
/** Servers as callers see them, kept once for all. */
const MAX_SERVERS = 10_000
/** How many callers are asked about at once after a change. */
const CONCURRENT_CHECKS = 8

/** What the Auth Service says of whoever presents a token. */
export interface AggregateCaller {
  /**
   * `KIND:NAME`; with the id of an API token or of the grant of an MCP client, since two of one person may be narrowed to different servers and
   * roles; with the holder of an endpoint token. The same for all tokens that come of one grant, or replace each other. No white space.
   */
  owner: string
  /** Milliseconds since 1970. */
  expiresAt: number
  /** What the caller may use now, by name. */
  servers: readonly UsableServer[]
}

interface UsableServer {
  name: string
  description?: string
  labels: Labels
}

/** A token, where it came from and at which endpoint: it may be worth something at one only. */
interface Shown {
  token: string
  remoteAddress: string
  /** Path of the MCP endpoint. */
  endpoint: string
}

interface Kept extends Shown {
  caller: AggregateCaller
  /** When the token itself ends, ms since 1970: that may be long before the caller has to sign in again. */
  tokenExpiresAt: number
  fetchedAt: number
  /** Of the changes known when it was asked for. */
  generation: number
  /** Why the caller may not go on, as the Auth Service said when it was asked last. */
  refusal?: string
}

export interface AggregateCallersOptions {
  /** A client of the Auth Service that calls with this credential of the caller's, not with one of ours. */
  clientFor(token: string, remoteAddress: string, endpoint: string): ApiClient
  now: () => number
  timers?: Timers
}

/** Codes by which the Auth Service says that a caller may not go on; any other is no word about the caller. */
const REFUSALS: ReadonlySet<Code> = new Set(['unauthenticated', 'permission_denied', 'not_found'])

/** Who the clients of the aggregate are and which servers they may use: asked once per token, and again after anything it rests on changed. */
export class AggregateCallers {
  readonly #options: AggregateCallersOptions
  readonly #timers: Timers
  readonly #kept = new Map<string, Kept>()
  readonly #pending = new Map<string, Promise<Kept>>()
  /** Owner → the key of the token by which it was seen last. */
  readonly #tokens = new Map<string, string>()
  readonly #servers = new Map<string, UsableServer>()
  #generation = 0

  constructor(options: AggregateCallersOptions) {
    this.#options = options
    this.#timers = options.timers ?? realTimers
  }

  /** @throws AppError as the Auth Service refuses: unauthenticated, permission_denied; unavailable when it does not answer in time. */
  async get(token: string, remoteAddress: string, endpoint = '/mcp'): Promise<AggregateCaller> {
    const shown = { token, remoteAddress, endpoint }
    const kept = this.#kept.get(keyOf(shown))
    if (kept && this.#isFresh(kept)) return kept.caller
    return (await (this.#pending.get(keyOf(shown)) ?? this.#fetch(shown))).caller
  }

  /**
   * Who an owner is now, for what goes on by itself: while its last token has ended and nothing stands against it, who it was. What it may use
   * is asked again with every message to a server.
   */
  async current(caller: AggregateCaller, shown: Shown): Promise<AggregateCaller> {
    try {
      return await this.get(shown.token, shown.remoteAddress, shown.endpoint)
    } catch (thrown) {
      const kept = this.#kept.get(keyOf(shown))
      if (kept && kept.tokenExpiresAt <= this.#options.now() && this.refusalOf(caller.owner) === undefined) return kept.caller
      throw thrown
    }
  }

  /** The token by which an owner was seen last: what a session began with may have been renewed since. */
  latestToken(owner: string): string | undefined {
    return this.#kept.get(this.#tokens.get(owner) ?? '')?.token
  }

  /** What is known is asked again the next time. */
  expire(): void {
    this.#generation += 1
    this.#pending.clear()
  }

  /** Why a caller may not go on, as far as is known here. */
  refusalOf(owner: string): string | undefined {
    const kept = this.#kept.get(this.#tokens.get(owner) ?? '')
    if (!kept) return 'who you are has to be verified again: connect again'
    return kept.caller.expiresAt <= this.#options.now() ? 'the credential has expired' : kept.refusal
  }

  /** Asks about these owners anew where something changed, and keeps what is said for `refusalOf`. Never throws. */
  async verify(owners: Iterable<string>): Promise<void> {
    const waiting = [...owners].values()
    const work = async (): Promise<void> => {
      for (const owner of waiting) {
        const kept = this.#kept.get(this.#tokens.get(owner) ?? '')
        // A refusal is kept with the caller; that the Auth Service could not be asked says nothing, and every request asks again.
        if (kept)
          await this.get(kept.token, kept.remoteAddress, kept.endpoint).catch((thrown: unknown) => noteRefusal(kept, toAppError(thrown)))
      }
    }
    await Promise.all(Array.from({ length: CONCURRENT_CHECKS }, work))
  }

  close(): void {
    this.#kept.clear()
    this.#tokens.clear()
  }

  #isFresh({ generation, refusal, fetchedAt, caller, tokenExpiresAt }: Kept): boolean {
    const now = this.#options.now()
    const isCurrent = generation === this.#generation && refusal === undefined
    return isCurrent && now - fetchedAt < MAX_AGE_MS && Math.min(caller.expiresAt, tokenExpiresAt) > now
  }

  async #fetch(shown: Shown): Promise<Kept> {
    const key = keyOf(shown)
    const fetching = answeredSoon(this.#timers, this.#fetchCurrent(shown))
    this.#pending.set(key, fetching)
    try {
      const kept = await fetching
      this.#keep(kept)
      return kept
    } catch (thrown) {
      const error = toAppError(thrown)
      const kept = this.#kept.get(key)
      // That a token came to its end says nothing of the caller, who may have the next one already.
      if (kept && kept.tokenExpiresAt > this.#options.now()) noteRefusal(kept, error)
      throw error
    } finally {
      if (this.#pending.get(key) === fetching) this.#pending.delete(key)
    }
  }

  async #fetchCurrent(shown: Shown): Promise<Kept> {
    const api = this.#options.clientFor(shown.token, shown.remoteAddress, shown.endpoint)
    for (let attempt = 1; ; attempt++) {
      const generation = this.#generation
      const answer = await fetchCaller(api)
      const servers = (await fetchServers(api))
        .map(({ permissions: _, health: __, agents: ___, ...app }) => app)
        .map((app) => this.#shared(serverOf(app)))
      const expiresAt = Date.parse(answer.expires)
      const caller = { owner: ownerOf(answer), expiresAt, servers }
      const tokenExpiresAt = answer.token_expires === undefined ? expiresAt : Date.parse(answer.token_expires)
      if (generation === this.#generation || attempt === MAX_ATTEMPTS)
        return { ...shown, caller, tokenExpiresAt, fetchedAt: this.#options.now(), generation }
    }
  }

  /** The same object for all who see the same: many callers see many servers. */
  #shared(server: UsableServer): UsableServer {
    const key = JSON.stringify(server)
    const known = this.#servers.get(key)
    if (known) return known
    if (this.#servers.size >= MAX_SERVERS) this.#servers.clear()
    this.#servers.set(key, server)
    return server
  }

  #keep(kept: Kept): void {
    const key = keyOf(kept)
    this.#kept.delete(key)
    this.#kept.set(key, kept)
    this.#tokens.set(kept.caller.owner, key)
    for (const [oldest, { caller }] of this.#kept) {
      if (this.#kept.size <= MAX_KEPT) return
      this.#kept.delete(oldest)
      if (this.#tokens.get(caller.owner) === oldest) this.#tokens.delete(caller.owner)
    }
  }
}

function noteRefusal(kept: Kept, error: AppError): void {
  if (REFUSALS.has(error.code)) kept.refusal = error.message
}

function keyOf({ endpoint, token }: Shown): string {
  return `${endpoint} ${token}`
}

function ownerOf({ kind, name, credential, credential_id, scope, holder }: Awaited<ReturnType<typeof fetchCaller>>): string {
  if (holder !== undefined) return `${kind}:${name}:${holder}`
  if (credential !== 'api_token' && credential !== 'oauth') return `${kind}:${name}`
  return [kind, name, ...(scope === undefined ? [] : [encodeURIComponent(scope)]), credential_id].join(':')
}

function serverOf(document: unknown): UsableServer {
  const app = parseResource('app', document)
  const { name, description } = app.metadata
  return { name, ...(description !== undefined && { description }), labels: labelsOf(app) }
}

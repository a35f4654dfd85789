import { fetchSecret } from '../../client/agent.ts'
import type { ApiClient } from '../../client/call.ts'
import { AppError } from '../../lib/errors.ts'
import type { Redactor } from '../../lib/redact.ts'
import type { Change, ResourceFeed } from '../../resources/feed.ts'

export interface SecretsOptions {
  api: ApiClient
  feed: ResourceFeed
  /** Learns the values, so that none gets into a log or the audit journal. */
  redactor: Redactor
  /** Settles when the Auth Service knows what this agent offers: it gives a secret to no other. */
  announced(): Promise<void>
}

/** Shorter ones stand in ordinary text by chance. */
const SHORTEST_HIDDEN = 8

interface Kept {
  value: string
  revision: string
}

/** Secrets of the cluster that MCP servers need; in memory only, and only as long as they are what they were. */
export class Secrets {
  readonly #options: SecretsOptions
  readonly #kept = new Map<string, Kept>()
  readonly #pending = new Map<string, Promise<string>>()

  constructor(options: SecretsOptions) {
    this.#options = options
  }

  /** Throws or rejects: failed_precondition when there is none, permission_denied when it is not for a server of this agent, unavailable. */
  get(name: string, server: string): string | Promise<string> {
    const current = this.#options.feed.find('secret', name)
    if (!current) {
      this.#forget(name)
      throw new AppError(
        'failed_precondition',
        `MCP server "${server}" needs the secret "${name}", which does not exist: ask an administrator`,
      )
    }
    const kept = this.#kept.get(name)
    if (kept && kept.revision === current.metadata.revision) return kept.value
    const pending = this.#pending.get(name) ?? this.#fetch(name)
    this.#pending.set(name, pending)
    return pending
  }

  /** Whether a secret came, changed or went; the old value is forgotten. */
  apply(change: Change): boolean {
    if (change.type === 'revoked' || change.kind !== 'secret') return false
    this.#forget(change.name)
    return true
  }

  #forget(name: string): void {
    const kept = this.#kept.get(name)
    this.#kept.delete(name)
    this.#pending.delete(name)
    if (kept) for (const part of partsOf(kept.value)) this.#options.redactor.remove(part)
  }

  #fetch(name: string): Promise<string> {
    const fetching = this.#fetchNow(name, () => this.#pending.get(name) === fetching)
    return fetching
  }

  /** One that changed meanwhile is not kept. */
  async #fetchNow(name: string, isCurrent: () => boolean): Promise<string> {
    const { api, redactor, announced } = this.#options
    try {
      await announced()
      const fetched = await fetchSecret(api, name)
      if (isCurrent()) {
        this.#forget(name)
        this.#kept.set(name, fetched)
        for (const part of partsOf(fetched.value)) redactor.add(part)
      }
      return fetched.value
    } finally {
      if (isCurrent()) this.#pending.delete(name)
    }
  }
}

/** What of a value could turn up somewhere: the whole as it is sent, without the line break of a file at its end, and the values of lines `NAME=value`. */
function partsOf(value: string): string[] {
  const lines = value.split(/\r?\n/).map((line) => /^[^=\s]+[ \t]*=[ \t]*(["']?)(.*)\1$/.exec(line.trim())?.[2] ?? '')
  return [value.replace(/\r?\n$/, ''), ...lines].filter((part) => part.length >= SHORTEST_HIDDEN)
}

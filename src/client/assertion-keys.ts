import { getJwks } from '../api/cluster.ts'
import { parseJwks, type VerificationKey } from '../ca/assertion.ts'
import { AppError } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import type { ApiClient } from './call.ts'

export interface AssertionKeysOptions {
  api: ApiClient
  /** Milliseconds of a clock that nobody sets. */
  monotonic: () => number
  log: Logger
}

/** Anybody can name a key that does not exist: the Auth Service is not asked more often for that. */
const MIN_AGE_MS = 10_000
/** A key that was withdrawn is forgotten after that at the latest. */
const MAX_AGE_MS = 15 * 60_000

/** The keys that verify route assertions, fetched from the Auth Service. */
export class AssertionKeys {
  readonly #options: AssertionKeysOptions
  readonly #timer: NodeJS.Timeout
  #keys: VerificationKey[] = []
  #askedAt = Number.NEGATIVE_INFINITY
  #asking: Promise<void> | undefined

  constructor(options: AssertionKeysOptions) {
    this.#options = options
    this.#timer = setInterval(() => void this.refresh(), MAX_AGE_MS).unref()
  }

  current(): VerificationKey[] {
    return this.#keys
  }

  /** Fetches them, unless that was done a moment ago. Never rejects: what cannot be fetched is logged, and the keys stay. */
  async refresh(): Promise<void> {
    if (this.#options.monotonic() - this.#askedAt < MIN_AGE_MS) return this.#asking
    this.#asking = this.load().catch((error: unknown) =>
      this.#options.log.warn('the keys of route assertions could not be fetched: those of before stay', { error }),
    )
    await this.#asking
  }

  /** @throws AppError unavailable. */
  async load(): Promise<void> {
    this.#askedAt = this.#options.monotonic()
    const keys = parseJwks(await this.#options.api(getJwks, {}))
    if (keys.length === 0) throw new AppError('unavailable', 'the Auth Service has no keys of route assertions')
    this.#keys = keys
  }

  close(): void {
    clearInterval(this.#timer)
  }
}

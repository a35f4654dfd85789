import { AppError } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'

export interface StoreFaultsOptions {
  log: Logger
  /** Milliseconds since 1970. */
  now?: () => number
  createId?: () => string
}

/** So long one line of the log, and one id, stand for the same failure of every request. */
const SAME_MS = 60_000
const MAX_KEPT = 100

/**
 * What a failing store is to whoever asks something of the cluster: nobody outside learns where it is or how it is set up. An id stands in the answer,
 * and in the line of the log that has the rest.
 */
export class StoreFaults {
  readonly #options: Required<StoreFaultsOptions>
  /** What was the matter → the id that stands for it, and since when. */
  readonly #noted = new Map<string, { id: string; at: number }>()

  constructor({ log, now = Date.now, createId = () => crypto.randomUUID() }: StoreFaultsOptions) {
    this.#options = { log, now, createId }
  }

  /** @param failure what it is to an operator; it becomes the cause. A mistake of the caller's own stays as it is. */
  hide(failure: AppError): AppError {
    if (failure.code === 'invalid_argument' || isHidden(failure)) return failure
    const id = this.#note(failure)
    const says =
      failure.code === 'unavailable'
        ? `the cluster's store cannot be reached: try again (id ${id})`
        : `the cluster's store has failed: tell an administrator, the log says more (id ${id})`
    return new AppError(failure.code, says, { details: { error_id: id }, cause: failure })
  }

  #note(failure: AppError): string {
    const { log, now, createId } = this.#options
    const key = `${failure.code} ${failure.message}`
    const before = this.#noted.get(key)
    if (before && now() - before.at < SAME_MS) return before.id
    if (this.#noted.size >= MAX_KEPT) this.#noted.clear()
    const id = createId()
    this.#noted.set(key, { id, at: now() })
    log.warn('the store has failed', { error_id: id, error: failure })
    return id
  }
}

/** What an operator can do about a store that has failed; any other error as it is. */
export function storeFaultOf(error: AppError): AppError {
  return isHidden(error) && error.cause instanceof AppError ? error.cause : error
}

function isHidden({ details, cause }: AppError): boolean {
  return details?.['error_id'] !== undefined && cause instanceof AppError
}

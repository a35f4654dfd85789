import { AppError, toAppError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { pause } from '../../lib/pause.ts'
import type { Timers } from '../../lib/timers.ts'
import type { Database } from '../../storage/database.ts'
import { isAway } from '../../storage/store.ts'

export interface ReachOptions {
  open: () => Promise<Database>
  /** Ends the wait. */
  signal: AbortSignal | undefined
  /** Milliseconds since 1970. */
  now: () => number
  /** Those of the machine unless given: nothing else keeps the process alive while it waits. */
  timers?: Timers
  log: Logger
  patienceMs?: number
}

/** Longer than a database of the same machine, or its failover, takes. */
const PATIENCE_MS = 5 * 60_000
const FIRST_PAUSE_MS = 1000
const MAX_PAUSE_MS = 15_000

/**
 * Opens the store, and waits for one that is away: a machine starts its services in any order. What no waiting helps against (a wrong password, no
 * such database, a certificate) is thrown at once, and so is what is still the matter after five minutes. @throws AppError cancelled by the signal.
 */
export async function reachStore({
  open,
  signal = new AbortController().signal,
  now,
  timers,
  log,
  patienceMs = PATIENCE_MS,
}: ReachOptions): Promise<Database> {
  const until = now() + patienceMs
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS)) {
    try {
      const db = await open()
      if (pauseMs > FIRST_PAUSE_MS) log.info('the database is there: starting')
      return db
    } catch (thrown) {
      if (!isAway(thrown)) throw thrown
      const left = until - now()
      const { code, message } = toAppError(thrown)
      if (left <= 0) throw new AppError(code, `${message} (waited for ${Math.round(patienceMs / 60_000)} minutes)`, { cause: thrown })
      const waitMs = Math.min(pauseMs, left)
      log.warn('the database is away: waiting for it', { error: message, next_try_ms: waitMs, gives_up_ms: left })
      await pause(waitMs, signal, timers)
      if (signal.aborted) throw new AppError('cancelled', 'stopped while waiting for the database')
    }
  }
}

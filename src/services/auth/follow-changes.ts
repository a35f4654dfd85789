import { toAppError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import type { Changes } from './changes.ts'

export interface Following {
  /** Looks at once. */
  wake(): void
  close(): Promise<void>
}

/** Looks from time to time, and when woken, for what other processes changed. While it cannot be seen that is logged once. */
export function followChanges(changes: Pick<Changes, 'catchUp'>, { everyMs, log }: { everyMs: number; log: Logger }): Following {
  let isFailing = false
  let isClosed = false
  let looking: Promise<void> | undefined
  const look = async (): Promise<void> => {
    try {
      await changes.catchUp()
      if (isFailing) log.info('what other processes of the cluster change is seen again')
      isFailing = false
    } catch (thrown) {
      if (!isFailing && !isClosed)
        log.error('what other processes of the cluster change cannot be seen: locks and revocations of theirs have to wait', {
          error: toAppError(thrown),
        })
      isFailing = true
    }
  }
  const wake = (): void => {
    if (!isClosed) looking = look()
  }
  const timer = setInterval(wake, everyMs).unref()
  return {
    wake,
    async close() {
      isClosed = true
      clearInterval(timer)
      await looking
    },
  }
}

import { toAppError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { openChangeListener } from '../../storage/store.ts'
import type { StoreLocation } from '../../storage/store.ts'
import type { Changes } from './changes.ts'

export interface FollowOptions {
  store: StoreLocation
  /** How often it is looked when nobody says that there is something, ms. */
  everyMs: number
  log: Logger
}

/** Looks for what other processes changed when one says so, and from time to time. While it cannot be seen, that is logged once. */
export async function followChanges(
  changes: Pick<Changes, 'catchUp'>,
  { store, everyMs, log }: FollowOptions,
): Promise<{ close(): Promise<void> }> {
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
  const listener = await openChangeListener(store, wake, log)
  const timer = setInterval(wake, everyMs).unref()
  return {
    async close() {
      isClosed = true
      clearInterval(timer)
      await listener.close()
      await looking
    },
  }
}

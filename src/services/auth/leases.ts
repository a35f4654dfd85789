import { setTimeout as sleep } from 'node:timers/promises'
import { AppError, toAppError } from '../../lib/errors.ts'
import { dropLease, takeLease } from '../../storage/shared-marks.ts'
import type { AuthContext } from './context.ts'

/** Longer than anything that is done under a lease: that of a process that died is over then. */
const LEASE_MS = 30_000
const LOOK_EVERY_MS = 50
/** How often it is looked: so long somebody waits for another process. */
const MAX_LOOKS = 200

/**
 * Does something that only one process of the cluster may do at a time. While another one does it, `findDone` is asked whether that is done by now:
 * then its answer counts, and nothing is done here. What came of it is what it ends with, also where the lease cannot be given back.
 * Throws `unavailable` when it takes too long.
 */
export async function alone<T>(
  context: Pick<AuthContext, 'db' | 'now' | 'random' | 'log'>,
  name: string,
  findDone: () => Promise<T | undefined>,
  work: () => Promise<T>,
): Promise<T> {
  const { db, now, random } = context
  const holder = Buffer.from(random(16)).toString('hex')
  for (let looks = 0; looks < MAX_LOOKS; looks++) {
    const isMine = await takeLease(db, name, holder, now() + LEASE_MS, now())
    try {
      const done = await findDone()
      if (done !== undefined) return done
      if (isMine) return await work()
    } finally {
      if (isMine) await giveBack(context, name, holder)
    }
    await sleep(LOOK_EVERY_MS)
  }
  throw new AppError('unavailable', 'another process of the cluster is at this for too long: try again in a moment')
}

/** Never rejects: a lease that stays ends by itself. */
async function giveBack({ db, log }: Pick<AuthContext, 'db' | 'log'>, name: string, holder: string): Promise<void> {
  try {
    await dropLease(db, name, holder)
  } catch (thrown) {
    log.warn('a lease could not be given back: others wait until it ends', { lease: name, ms: LEASE_MS, error: toAppError(thrown) })
  }
}

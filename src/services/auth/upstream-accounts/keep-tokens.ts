import { setTimeout as sleep } from 'node:timers/promises'
import { toAppError } from '../../../lib/errors.ts'
import type { Executor } from '../../../storage/database.ts'
import { replaceUpstreamDocument, type UpstreamRecord } from '../../../storage/upstream-records.ts'

/** A database that is failed over, or restarted, is back within that. */
const PAUSES_MS = [250, 500, 1000, 2000, 4000]

/**
 * Puts renewed tokens in place of those in `record`, again and again while the store is away: the ones before are spent, and a refresh token
 * that comes twice looks stolen. False when somebody else put others there, or these are there already. Throws as the store does at last.
 * @param pause waits so many ms.
 */
export async function keepTokens(
  db: Executor,
  record: UpstreamRecord,
  document: string,
  pause: (ms: number) => Promise<unknown> = sleep,
): Promise<boolean> {
  for (const ms of PAUSES_MS) {
    try {
      return await replaceUpstreamDocument(db, record, document)
    } catch (thrown) {
      if (toAppError(thrown).code !== 'unavailable') throw thrown
      await pause(ms)
    }
  }
  return await replaceUpstreamDocument(db, record, document)
}

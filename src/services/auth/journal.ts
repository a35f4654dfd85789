import type { AuditEvent } from '../../audit/event.ts'
import { transact } from '../../storage/database.ts'
import type { Database, Executor } from '../../storage/database.ts'
import { appendEvents } from '../../storage/events.ts'
import type { StoredEvent } from '../../storage/events.ts'
import type { Changes } from './changes.ts'

/** What came of a mutation, and its events, which are written in the same transaction. */
export interface Staged<T> {
  output: T
  events: AuditEvent[]
}

/** The one place where state changes and events are written together. */
export interface Journal {
  /**
   * Runs `work` in a transaction with its events. While it runs nobody else changes anything, in whichever process, and what is in memory is
   * what the store has; once it is kept for good, memory has what it changed.
   */
  commit<T>(work: (tx: Executor) => Promise<Staged<T>>): Promise<T>
  /** Stores events that come without a change, such as refusals and those of agents; returns how many were new. */
  record(events: AuditEvent[]): Promise<number>
}

/** @param changes brings memory up to date; @param onAppended told of new events in the order of the chain; it must not throw. */
export function createJournal(
  db: Database,
  clusterName: string,
  changes: Pick<Changes, 'begin' | 'end'>,
  onAppended: (events: StoredEvent[]) => void,
): Journal {
  const inTurn = createQueue()
  return {
    commit: (work) =>
      inTurn(async () => {
        const { output, apply, appended } = await transact(db, async (tx) => {
          await changes.begin(tx)
          const done = await work(tx)
          const applied = await changes.end(tx)
          return { output: done.output, apply: applied, appended: await appendEvents(tx, done.events, clusterName) }
        })
        apply()
        onAppended(appended)
        return output
      }),
    record: (events) =>
      inTurn(async () => {
        const appended = await appendEvents(db, events, clusterName)
        onAppended(appended)
        return appended.length
      }),
  }
}

function createQueue(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve()
  return (work) => {
    const next = last.then(work, work)
    last = next.catch(() => undefined)
    return next
  }
}

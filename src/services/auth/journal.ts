import type { AuditEvent } from '../../audit/event.ts'
import { transact } from '../../storage/database.ts'
import type { Database, Executor } from '../../storage/database.ts'
import { appendEvents } from '../../storage/events.ts'
import type { StoredEvent } from '../../storage/events.ts'

/** What a mutation wants to have happen: its events in the same transaction, the rest once that is kept for good. */
export interface Staged<T> {
  output: T
  events: AuditEvent[]
  publish?: () => void
}

/** The one place where state changes and events are written together. */
export interface Journal {
  /** Runs `work` in a transaction with its events, then publishes; mutations are published in the order of their commits. */
  commit<T>(work: (tx: Executor) => Promise<Staged<T>>): Promise<T>
  /** Stores events that come without a change, such as refusals and those of agents; returns how many were new. */
  record(events: AuditEvent[]): Promise<number>
}

/** @param onAppended told of new events in the order of the chain; it must not throw. */
export function createJournal(db: Database, clusterName: string, onAppended: (events: StoredEvent[]) => void): Journal {
  const inTurn = createQueue()
  return {
    commit: (work) =>
      inTurn(async () => {
        const { staged, appended } = await transact(db, async (tx) => {
          const done = await work(tx)
          return { staged: done, appended: await appendEvents(tx, done.events, clusterName) }
        })
        staged.publish?.()
        onAppended(appended)
        return staged.output
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

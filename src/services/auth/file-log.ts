import { renderChained } from '../../audit/chain.ts'
import { openFileSink } from '../../audit/file-sink.ts'
import type { Logger } from '../../lib/log.ts'
import type { Executor } from '../../storage/database.ts'
import { getChainHead, searchEvents } from '../../storage/events.ts'
import type { StoredEvent } from '../../storage/events.ts'

/** The audit log as files beside the store. The store is the truth: what could not be written is caught up with. */
export interface FileLog {
  append(events: readonly StoredEvent[]): void
  /** Writes what is missing, if anything is. */
  catchUp(): Promise<void>
  close(): Promise<void>
}

/** Batches that may wait for a slow disk; more are left to `catchUp`. */
const MAX_PENDING = 100

export async function openFileLog(
  directory: string,
  { db, clusterName, now, log }: { db: Executor; clusterName: string; now: () => number; log: Logger },
): Promise<FileLog> {
  const { seq: head } = await getChainHead(db, clusterName)
  const since = async (after: number) => (await searchEvents(db, { after, limit: 500 })).events.map(renderLine)
  const sink = await openFileSink(directory, { now, head, since })
  let pending = 0
  let isBehind = false
  const write = async (lines: string[]): Promise<void> => {
    pending += 1
    try {
      await sink.write(lines)
    } catch (cause) {
      isBehind = true
      log.error(`cannot write the audit log to ${directory}: events are kept in the database and written later`, { cause })
    } finally {
      pending -= 1
    }
  }
  return {
    append(events) {
      if (events.length === 0) return
      if (pending >= MAX_PENDING) isBehind = true
      else void write(events.map(renderLine))
    },
    async catchUp() {
      if (!isBehind || pending > 0) return
      isBehind = false
      const newest = await searchEvents(db, { order: 'desc', limit: 1 })
      await write(newest.events.map(renderLine))
    },
    close: () => sink.close(),
  }
}

function renderLine(event: StoredEvent): string {
  return renderChained(event.text, event)
}

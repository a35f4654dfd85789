import { renderChained } from '../../audit/chain.ts'
import type { ChainedLines } from '../../audit/chain.ts'
import { openFileSink } from '../../audit/file-sink.ts'
import type { Logger } from '../../lib/log.ts'
import type { Executor } from '../../storage/database.ts'
import { getChainHead, searchEvents } from '../../storage/events.ts'
import type { StoredEvent } from '../../storage/events.ts'

/** The audit log as files beside the store. The store is the truth: what could not be written is caught up with. */
export interface FileLog {
  append(lines: ChainedLines | undefined): void
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
  const write = async (lines: ChainedLines): Promise<void> => {
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
    append(lines) {
      if (!lines) return
      if (pending >= MAX_PENDING) isBehind = true
      else void write(lines)
    },
    async catchUp() {
      if (!isBehind || pending > 0) return
      isBehind = false
      const newest = await searchEvents(db, { order: 'desc', limit: 1 })
      const lines = renderLines(newest.events)
      if (lines) await write(lines)
    },
    close: () => sink.close(),
  }
}

/** Events that follow each other; undefined when there are none. */
export function renderLines(events: readonly StoredEvent[]): ChainedLines | undefined {
  const [first, last] = [events[0], events.at(-1)]
  return first && last && { first, last, bytes: new TextEncoder().encode(events.map((event) => `${renderLine(event)}\n`).join('')) }
}

function renderLine(event: StoredEvent): string {
  return renderChained(event.text, event)
}

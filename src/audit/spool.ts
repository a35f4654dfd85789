import { chmodSync, mkdirSync, readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import type { AuditEvent, EventFields } from './event.ts'
import { JournalReader } from './journal-reader.ts'
import type { Position } from './journal-reader.ts'
import { renderEnd, renderPoint, renderStart, segmentNumbers } from './journal-record.ts'
import { JournalWriter } from './journal-writer.ts'

export interface SpoolOptions {
  /** 64 MiB unless told. */
  segmentBytes?: number
  /** What a power cut can cost, 100 ms unless told. A dying process costs nothing that was flushed. */
  syncEveryMs?: number
  log: Logger
}

/** Keeps events for good; must not fail for those it has already (by uid), and has to settle in its own time. */
export type Send = (events: AuditEvent[]) => Promise<void>

/**
 * The local journal of audit events, written before anything else happens: one process per directory.
 *
 * A call has two records: `start` and `flush` before it leaves, `end` and `flush` before its answer leaves. When `flush` throws, refuse the
 * call and still `end` it: what could not be written stays pending and is written when the disk takes it again.
 */
export interface Spool {
  /** Throws `resource_exhausted` when the disk takes nothing and too much is waiting for it. */
  start(event: AuditEvent): void
  end(uid: string, fields: EventFields): void
  point(event: AuditEvent): void
  /** One write for all that is pending; nearly free when nothing is. Throws `resource_exhausted` (disk full) or `unavailable`. */
  flush(): void
  /**
   * Sends all that is complete now, in batches of 100 unless told, of 500 at most; returns how many events.
   * Rejects as `send` does, and takes up there the next time.
   */
  drain(send: Send, options?: { batch?: number }): Promise<number>
  /** Drains, waits for more and goes on until the signal fires; a failing `send` is tried again at growing intervals. */
  ship(send: Send, options: { batch?: number; signal: AbortSignal }): Promise<void>
  /** Flushes and syncs. End `ship` first. */
  close(): Promise<void>
}

const MAX_BATCH = 500
/** Storing so many keeps the process from other work for a few milliseconds. */
const BATCH = 100
const LINGER_MS = 50
const IDLE_MS = 1000
const MAX_BACKOFF_MS = 30_000

/** Opens the journal in a directory of its own (made with mode 0700). What an earlier process left is sent with the rest. */
export function openSpool(directory: string, options: SpoolOptions): Spool {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  chmodSync(directory, 0o700)
  const writer = new JournalWriter(directory, {
    segmentBytes: options.segmentBytes ?? 64 * 1024 * 1024,
    syncEveryMs: options.syncEveryMs ?? 100,
    firstSegment: (segmentNumbers(readdirSync(directory)).at(-1) ?? 0) + 1,
    log: options.log,
  })
  const reader = new JournalReader(directory, () => ({ segment: writer.segment, size: writer.size }), options.log)
  const bell = createBell()
  const shipper = createShipper(reader)
  return {
    start: (event) => writer.start(event.uid, renderStart(event)),
    end: (uid, fields) => {
      if (!writer.end(uid, renderEnd(uid, fields)))
        options.log.warn('audit journal: end of a call that was not begun or has ended', { uid })
    },
    point: (event) => writer.point(renderPoint(event)),
    flush: () => {
      if (writer.flush()) bell.ring()
    },
    drain: (send, { batch = BATCH } = {}) => shipper.drain(send, Math.min(batch, MAX_BATCH)),
    ship: async (send, { batch = BATCH, signal }) => {
      let failures = 0
      signal.addEventListener('abort', bell.ring, { once: true })
      while (!signal.aborted) {
        try {
          await shipper.drain(send, Math.min(batch, MAX_BATCH))
          failures = 0
          await bell.wait(IDLE_MS)
          await pause(LINGER_MS, signal)
        } catch (cause) {
          failures += 1
          if (failures === 1) options.log.warn('audit events cannot be sent now: they stay in the journal', { error: cause })
          await pause(Math.min(MAX_BACKOFF_MS, 250 * 2 ** Math.min(failures, 10)), signal)
        }
      }
    },
    close: () => writer.close(),
  }
}

/** Reading, sending and committing, one at a time; a batch whose sending failed is the first of the next time. */
function createShipper(reader: JournalReader): { drain(send: Send, batch: number): Promise<number> } {
  let unsent: { events: AuditEvent[]; position: Position } | undefined
  let committed: Position | undefined
  let turn: Promise<unknown> = Promise.resolve()

  async function drainOnce(send: Send, batch: number): Promise<number> {
    let sent = 0
    for (;;) {
      const { events, position } = (unsent ??= await reader.read(batch))
      for (let from = 0; from < events.length; from += batch) await deliver(send, events.slice(from, from + batch), reader)
      const moved = committed?.segment !== position.segment || committed.offset !== position.offset
      if (moved) await reader.commit(position)
      committed = position
      unsent = undefined
      sent += events.length
      if (events.length < batch) return sent
    }
  }

  return {
    drain(send, batch) {
      const mine = turn.then(() => drainOnce(send, batch))
      turn = mine.catch(() => undefined) // the caller of that turn has it
      return mine
    },
  }
}

/** An event that the store calls invalid would block all behind it: it is found, one by one, and set aside. */
async function deliver(send: Send, events: AuditEvent[], reader: JournalReader): Promise<void> {
  try {
    await send(events)
  } catch (thrown) {
    if (!(thrown instanceof AppError && thrown.code === 'invalid_argument')) throw thrown
    const [first, ...rest] = events
    if (first === undefined) return
    if (rest.length === 0) return reader.setAside(JSON.stringify(first), `refused by the store: ${thrown.message}`)
    for (const event of events) await deliver(send, [event], reader)
  }
}

/** Wakes who waits; rings that nobody waits for are kept. */
function createBell(): { ring: () => void; wait: (ms: number) => Promise<void> } {
  let rung = false
  let wake: AbortController | undefined
  return {
    ring() {
      rung = true
      wake?.abort()
    },
    async wait(ms) {
      if (!rung) {
        wake = new AbortController()
        await pause(ms, wake.signal)
        wake = undefined
      }
      rung = false
    },
  }
}

/** Ends early, without an error, when the signal fires. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal, ref: false }).catch((cause: unknown) => {
    if (!signal.aborted) throw cause
  })
}

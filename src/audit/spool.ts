import { chmodSync, mkdirSync, readdirSync } from 'node:fs'
import type { Logger } from '../lib/log.ts'
import type { AuditEvent } from './event.ts'
import { SharedEnd } from './journal-end.ts'
import { JournalReader } from './journal-reader.ts'
import { parseKeptEvent, renderEnd, renderPoint, renderStart, segmentNumbers } from './journal-record.ts'
import { JournalRoom, MAX_JOURNAL_BYTES, measureDisk } from './journal-room.ts'
import { createBell, JournalShipper } from './journal-shipper.ts'
import type { Send } from './journal-shipper.ts'
import { JournalWriter } from './journal-writer.ts'
import type { OpenRecord } from './journal-writer.ts'

export interface SpoolOptions {
  /** 64 MiB unless told. */
  segmentBytes?: number
  /** What a power cut can cost, 100 ms unless told. A dying process costs nothing that was flushed. */
  syncEveryMs?: number
  /** What it may hold that the store has not taken, 16 GiB unless told: then it takes no call. */
  maxBytes?: number
  log: Logger
}

/**
 * Where records of events go before anything else happens.
 *
 * A call has two: `start` and `flushed` before it leaves, `end` and `flushed` before its answer leaves. When `flushed` rejects, refuse the
 * call and still `end` it: what could not be written stays pending and is written when the disk takes it again.
 */
export interface Recording {
  /** @param text JSON of an event of this uid. Throws `resource_exhausted` when the disk takes nothing and too much is waiting for it, or the journal is full. */
  start(uid: string, text: string): OpenRecord
  /** Ends what was started here. @param text JSON object of the fields that the end adds. */
  end(open: OpenRecord, text: string): void
  /** Throws like `start`. */
  point(event: AuditEvent): void
  /**
   * Resolves when all that is pending is with the kernel: one write for all records of a turn of the event loop. Rejects with
   * `resource_exhausted` (disk full) or `unavailable`. It need not be waited for.
   */
  flushed(): Promise<void>
}

/** Keeps events for good, as `Send` does. */
export type SendEvents = (events: AuditEvent[]) => Promise<void>

/** The local journal of audit events, written before anything else happens: one process per directory. */
export interface Spool extends Recording {
  /**
   * Sends all that is complete now, in batches of 100 unless told, of 1000 at most; returns how many events.
   * Rejects as `send` does, and takes up there the next time.
   */
  drain(send: SendEvents, options?: { batch?: number }): Promise<number>
  /** Drains, waits for more and goes on until the signal fires; a failing `send` is tried again at growing intervals. */
  ship(send: SendEvents, options: { batch?: number; signal: AbortSignal }): Promise<void>
  /** For a reader in another thread, in place of `drain` and `ship`. */
  readonly source: JournalSource
  /** Flushes and syncs. End what ships first. */
  close(): Promise<void>
}

export interface JournalSource {
  directory: string
  /** Of a `SharedEnd`. */
  end: SharedArrayBuffer
  /** `wake` is called after a write when the reader had said that it sleeps. */
  onWritten(wake: () => void): void
}

/** What brings the events of a journal to where they are kept. */
export interface Shipping {
  /** Brings what is there, then ends. What cannot be brought stays in the journal for the next start. */
  close(): Promise<void>
}

/** Storing so many keeps the process from other work for a few milliseconds. */
const BATCH = 100

/** Opens the journal in a directory of its own (made with mode 0700). What an earlier process left is sent with the rest. */
export function openSpool(directory: string, options: SpoolOptions): Spool {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  chmodSync(directory, 0o700)
  const { log } = options
  const shared = new SharedEnd()
  const bell = createBell()
  let wake = (): void => {}
  const writer = new JournalWriter(directory, {
    segmentBytes: options.segmentBytes ?? 64 * 1024 * 1024,
    syncEveryMs: options.syncEveryMs ?? 100,
    room: new JournalRoom({ maxBytes: options.maxBytes ?? MAX_JOURNAL_BYTES, measure: () => measureDisk(directory) }),
    firstSegment: (segmentNumbers(readdirSync(directory)).at(-1) ?? 0) + 1,
    onEnd: (end) => {
      shared.store(end)
      bell.ring()
      if (shared.takeSleeper()) wake()
    },
    log,
  })
  const shipper = new JournalShipper(new JournalReader(directory, () => shared.load(), log))
  return {
    start: (uid, text) => writer.start(uid, renderStart(text)),
    end: (open, text) => {
      const { uid } = open
      if (!writer.end(open, renderEnd(uid, text))) log.warn('audit journal: end of a call that has ended', { uid })
    },
    point: (event) => writer.point(renderPoint(event)),
    flushed: () => writer.flushed(),
    drain: (send, { batch = BATCH } = {}) => shipper.drain(parsing(send), batch),
    ship: (send, { batch = BATCH, signal }) => shipper.ship(parsing(send), { batch, signal, bell, log }),
    source: { directory, end: shared.memory, onWritten: (callback) => (wake = callback) },
    close: () => writer.close(),
  }
}

function parsing(send: SendEvents): Send {
  return (events) => send(events.map(({ text }) => parseKeptEvent(text)))
}

import { closeSync, fdatasync, fdatasyncSync, fsyncSync, ftruncateSync, openSync, unlinkSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { AppError } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import { type Listed, Roster } from '../lib/roster.ts'
import type { JournalEnd } from './journal-end.ts'
import { CONTINUED_LINE, OPENED_LINE, segmentName } from './journal-record.ts'
import type { JournalRoom } from './journal-room.ts'

/** A process that cannot write keeps at most this much in memory before it takes nothing more. */
const MAX_PENDING_BYTES = 4 * 1024 * 1024

const BUFFER_BYTES = 256 * 1024

export interface JournalOptions {
  /** A segment that grew by this much is followed by a new one. */
  segmentBytes: number
  /** How long written records may stay unsynced: what a power cut can cost. */
  syncEveryMs: number
  /** Number of the segment to begin with; none of that number exists. */
  firstSegment: number
  /** What it may take of the disk. */
  room: JournalRoom
  /** Told of every new end, once its records are in the file. */
  onEnd: (end: JournalEnd) => void
  log: Logger
}

/** A start without its end. */
export interface OpenRecord extends Listed {
  readonly uid: string
  readonly line: string
}

/** The writing end of the journal: lines are collected and leave in one write. Owns the file of the newest segment. */
export class JournalWriter {
  /** Newest segment, and how many of its bytes are whole records. */
  segment: number
  size = 0
  readonly #directory: string
  readonly #options: JournalOptions
  /** The starts without an end; a new segment begins with them. */
  readonly #open = new Roster<OpenRecord>()
  #fd: number
  #carried: number
  #pending: string[] = []
  #pendingLength = 0
  #torn = false
  #dirty = false
  #syncTimer: NodeJS.Timeout | undefined
  #syncing: Promise<void> = Promise.resolve()
  #syncError: unknown
  readonly #buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES)
  /** Those who wait for the write of this turn of the event loop. */
  #turn: PromiseWithResolvers<void> | undefined
  #isClosed = false

  constructor(directory: string, options: JournalOptions) {
    this.#directory = directory
    this.#options = options
    this.segment = options.firstSegment
    this.#fd = this.#create(this.segment, OPENED_LINE)
    this.#carried = this.size
    options.onEnd(this)
  }

  /** Throws `resource_exhausted` when too much waits for a disk that takes nothing, or the journal has as much as it may. */
  start(uid: string, line: string): OpenRecord {
    this.#options.room.assertForCall()
    this.#makeRoom()
    const open = { uid, line, place: -1 }
    this.#open.add(open)
    this.#push(line)
    return open
  }

  /** False when it has ended already. Never refused: there is one at most for every start. */
  end(open: OpenRecord, line: string): boolean {
    if (!this.#open.delete(open)) return false
    this.#push(line)
    return true
  }

  point(line: string): void {
    this.#options.room.assertForPoint()
    this.#makeRoom()
    this.#push(line)
  }

  /**
   * Settles once all that is pending is with the kernel: one `flush` for all lines of this turn of the event loop, at its end. Rejects as
   * `flush` throws, for everybody who waits. It need not be waited for.
   */
  flushed(): Promise<void> {
    if (this.#turn) return this.#turn.promise
    if (this.#pending.length === 0 && this.#syncError === undefined) return NOTHING_PENDING
    const turn = Promise.withResolvers<void>()
    turn.promise.catch(() => undefined) // whoever waits has it
    this.#turn = turn
    setImmediate(() => {
      this.#turn = undefined
      try {
        this.flush()
        turn.resolve()
      } catch (thrown) {
        turn.reject(thrown)
      }
    })
    return turn.promise
  }

  /**
   * Hands all pending lines to the kernel in one write: after it they survive the end of this process, after `syncEveryMs` a power cut.
   * On failure the lines stay pending and the file is as before.
   */
  flush(): void {
    if (this.#isClosed) throw new AppError('unavailable', 'the audit journal is closed: the gateway is shutting down')
    if (this.#syncError !== undefined) {
      this.#scheduleSync()
      throw writeFailure(this.#syncError)
    }
    if (this.#pending.length === 0) return
    this.#append(this.#encode((this.#torn ? '\n' : '') + this.#pending.join('')))
    this.#pending = []
    this.#pendingLength = 0
    this.#dirty = true
    this.#scheduleSync()
    if (this.size - this.#carried >= this.#options.segmentBytes) this.#rotate()
    this.#options.onEnd(this)
  }

  /** Writes and syncs what is pending, then lets go of the file. */
  async close(): Promise<void> {
    clearTimeout(this.#syncTimer)
    await this.#syncing
    try {
      this.#syncError = undefined
      this.flush()
      clearTimeout(this.#syncTimer)
      fdatasyncSync(this.#fd)
    } finally {
      this.#isClosed = true
      this.#options.room.close()
      closeSync(this.#fd)
    }
  }

  #push(line: string): void {
    this.#pending.push(line)
    this.#pendingLength += line.length
  }

  /** So much in one turn of the event loop is written before its end. */
  #makeRoom(): void {
    if (this.#pendingLength <= MAX_PENDING_BYTES) return
    try {
      this.flush()
    } catch (cause) {
      throw new AppError('resource_exhausted', 'the audit journal cannot be written: free disk space on the gateway', { cause })
    }
  }

  /** In memory of our own for what is usual: a buffer for each write gave the garbage collector much to do. */
  #encode(text: string): Buffer {
    return text.length * 3 <= this.#buffer.length ? this.#buffer.subarray(0, this.#buffer.write(text)) : Buffer.from(text)
  }

  #append(bytes: Buffer): void {
    let written = 0
    try {
      while (written < bytes.length) written += writeSync(this.#fd, bytes, written)
    } catch (cause) {
      this.#undo(written)
      throw writeFailure(cause)
    }
    this.size += bytes.length
    this.#torn = false
    this.#options.room.wrote(bytes.length)
  }

  /** Takes half a write back; if even that fails, the next write closes the torn line first and the reader sets it aside. */
  #undo(written: number): void {
    if (written === 0) return
    try {
      ftruncateSync(this.#fd, this.size)
    } catch {
      this.size += written
      this.#torn = true
    }
  }

  /** Nothing is pending here, so the open starts are just those without an end in the file. Without a new segment the old one stays. */
  #rotate(): void {
    const full = this.#fd
    try {
      fdatasyncSync(full)
      this.#fd = this.#create(this.segment + 1, CONTINUED_LINE + this.#openLines())
    } catch (cause) {
      this.#options.log.warn('audit journal: no new segment, going on in the old one', { segment: this.segment, error: cause })
      this.#carried = this.size // tried again after as many bytes more
      return
    }
    this.segment += 1
    this.#carried = this.size
    void this.#syncing.then(() => closeSync(full))
  }

  #openLines(): string {
    return this.#open
      .list()
      .map(({ line }) => line)
      .join('')
  }

  /** A new file whose beginning is on disk, its name too, before the one before it may be deleted. */
  #create(number: number, head: string): number {
    const path = join(this.#directory, segmentName(number))
    const fd = openSync(path, 'ax', 0o600)
    try {
      const bytes = Buffer.from(head)
      let written = 0
      while (written < bytes.length) written += writeSync(fd, bytes, written)
      fdatasyncSync(fd)
      const directory = openSync(this.#directory, 'r')
      fsyncSync(directory)
      closeSync(directory)
      this.size = bytes.length
      return fd
    } catch (cause) {
      closeSync(fd)
      unlinkSync(path)
      throw writeFailure(cause)
    }
  }

  #scheduleSync(): void {
    if (this.#syncTimer) return
    this.#syncTimer = setTimeout(() => {
      this.#syncTimer = undefined
      this.#syncing = this.#syncing.then(() => this.#sync())
    }, this.#options.syncEveryMs).unref()
  }

  #sync(): Promise<void> {
    if (!this.#dirty) return Promise.resolve()
    this.#dirty = false
    return new Promise((resolve) => {
      fdatasync(this.#fd, (error) => {
        this.#syncError = error ?? undefined
        this.#dirty ||= error !== null
        resolve()
      })
    })
  }
}

const NOTHING_PENDING = Promise.resolve()

function writeFailure(cause: unknown): AppError {
  if (cause instanceof AppError) return cause
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
  const full = code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG'
  return full
    ? new AppError('resource_exhausted', 'the disk of the audit journal is full: free space on the gateway; until then it refuses calls', {
        cause,
      })
    : new AppError('unavailable', 'the audit journal cannot be written; until it can the gateway refuses calls', { cause })
}

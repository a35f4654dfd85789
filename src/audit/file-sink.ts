import { chmod, mkdir, open, readdir, rename, rm, symlink } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { AppError } from '../lib/errors.ts'
import { parseChained } from './chain.ts'
import type { ChainedLines } from './chain.ts'

const DAY_FILE = /^\d{4}-\d\d-\d\d\.jsonl$/
const CURRENT = 'events.log'
/** No line is longer: an event of 64 KiB and its link. */
const TAIL_BYTES = 256 * 1024

export interface FileSinkOptions {
  /** Milliseconds since 1970; names the day's file (UTC). */
  now: () => number
  /** Place of the store's newest event, 0 when it has none. */
  head: number
  /** The store's next rendered lines behind a place, in order; none when there are no more. */
  since: (seq: number) => Promise<string[]>
}

export interface FileSink {
  /** Appends lines. Those that are there already are passed over; a gap is filled from the store first. */
  write(lines: ChainedLines): Promise<void>
  close(): Promise<void>
}

/**
 * Audit events as JSON lines: `YYYY-MM-DD.jsonl` per day (mode 0600), `events.log` pointing at the newest.
 * Opening cuts off half a line that a crash left and catches up with the store. Throws `failed_precondition` when the files are not
 * of this store's past.
 */
export async function openFileSink(directory: string, options: FileSinkOptions): Promise<FileSink> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const sink = new DayFiles(directory, options.now)
  await sink.recover(options.head)
  let turn = sink.catchUp(options.since)
  await turn
  return {
    write(lines) {
      const mine = turn.then(async () => {
        if (lines.first.seq > sink.last.seq + 1) await sink.catchUp(options.since)
        if (lines.first.seq === sink.last.seq + 1) await sink.appendWhole(lines)
        else if (lines.last.seq > sink.last.seq) await sink.append(new TextDecoder().decode(lines.bytes).trimEnd().split('\n'))
      })
      turn = mine.catch(() => undefined) // the caller of that turn has it
      return mine
    },
    async close() {
      await turn
      await sink.close()
    },
  }
}

class DayFiles {
  /** The newest record on disk; `hash` is empty when there is none. */
  last = { seq: 0, hash: '' }
  readonly #directory: string
  readonly #now: () => number
  #day = ''
  #file: FileHandle | undefined

  constructor(directory: string, now: () => number) {
    this.#directory = directory
    this.#now = now
  }

  async recover(head: number): Promise<void> {
    const days = (await readdir(this.#directory)).filter((name) => DAY_FILE.test(name)).sort()
    for (const name of days.toReversed()) {
      const line = await lastLine(join(this.#directory, name))
      if (line === undefined) continue
      const record = parseChained(line)
      if (!record)
        throw new AppError('failed_precondition', `the last line of ${join(this.#directory, name)} is no audit record: move the file away`)
      this.last = { seq: record.seq, hash: record.hash }
      break
    }
    if (this.last.seq > head)
      throw new AppError(
        'failed_precondition',
        `${this.#directory} holds audit events up to ${this.last.seq}, the store only up to ${head}: ` +
          'if the store was restored or replaced, move the directory away',
      )
  }

  async catchUp(since: FileSinkOptions['since']): Promise<void> {
    for (;;) {
      const before = this.last.seq
      await this.append(await since(before))
      if (this.last.seq === before) return
    }
  }

  async append(lines: string[]): Promise<void> {
    const fresh: string[] = []
    let last = this.last
    for (const line of lines) {
      const record = parseChained(line)
      if (!record) throw new AppError('internal', 'not a chained audit record')
      if (record.seq <= last.seq) continue
      this.#assertFollows(record, last)
      fresh.push(`${line}\n`)
      last = { seq: record.seq, hash: record.hash }
    }
    if (fresh.length > 0) await this.#write(fresh.join(''), last)
  }

  /** Lines that begin right behind the last one: only where they join has to be looked at. */
  async appendWhole({ first, last, bytes }: ChainedLines): Promise<void> {
    this.#assertFollows(first, this.last)
    await this.#write(bytes, { seq: last.seq, hash: last.hash })
  }

  #assertFollows({ seq, prev }: { seq: number; prev: string }, last: DayFiles['last']): void {
    if (seq === last.seq + 1 && last.seq > 0 && prev !== last.hash)
      throw new AppError(
        'failed_precondition',
        `${this.#directory} is not of this store: event ${seq} does not follow the last one there; move the directory away`,
      )
  }

  async #write(lines: string | Uint8Array, last: DayFiles['last']): Promise<void> {
    const file = await this.#today()
    const { size } = await file.stat()
    try {
      await file.appendFile(lines)
      await file.datasync()
    } catch (cause) {
      await file.truncate(size)
      throw new AppError('unavailable', `cannot write audit events to ${this.#directory}`, { cause })
    }
    this.last = last
  }

  async close(): Promise<void> {
    await this.#file?.close()
    this.#file = undefined
  }

  async #today(): Promise<FileHandle> {
    const day = `${new Date(this.#now()).toISOString().slice(0, 10)}.jsonl`
    // A clock that was set back must not put newer events before older ones.
    if (this.#file && day <= this.#day) return this.#file
    await this.close()
    const newest = (await readdir(this.#directory))
      .filter((name) => DAY_FILE.test(name))
      .sort()
      .at(-1)
    this.#day = newest !== undefined && newest > day ? newest : day
    this.#file = await open(join(this.#directory, this.#day), 'a', 0o600)
    await chmod(join(this.#directory, this.#day), 0o600)
    await rm(join(this.#directory, `${CURRENT}.new`), { force: true })
    await symlink(this.#day, join(this.#directory, `${CURRENT}.new`))
    await rename(join(this.#directory, `${CURRENT}.new`), join(this.#directory, CURRENT))
    return this.#file
  }
}

/** The last whole line; what stands behind it was torn by a crash and is cut off. Undefined for a file without a line. */
async function lastLine(path: string): Promise<string | undefined> {
  const file = await open(path, 'r+')
  try {
    const { size } = await file.stat()
    const from = Math.max(0, size - TAIL_BYTES)
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size - from), 0, size - from, from)
    const tail = buffer.subarray(0, bytesRead)
    const end = tail.lastIndexOf(10)
    if (end === -1 && from > 0) throw new AppError('failed_precondition', `${path} is no file of audit events: move it away`)
    if (from + end + 1 < size) await file.truncate(from + end + 1)
    if (end === -1) return undefined
    return tail.toString('utf8', end === 0 ? 0 : tail.lastIndexOf(10, end - 1) + 1, end)
  } finally {
    await file.close()
  }
}

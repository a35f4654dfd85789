import { closeSync, openSync, readSync } from 'node:fs'
import { appendFile, readFile, readdir, rename, stat, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import type { Logger } from '../lib/log.ts'
import type { EventText } from './event-text.ts'
import type { JournalEnd } from './journal-end.ts'
import { JournalJoiner, NO_RECORD } from './journal-joiner.ts'
import type { Joined } from './journal-joiner.ts'
import { segmentName, segmentNumbers } from './journal-record.ts'

const CHUNK_BYTES = 256 * 1024
/** Longer than any record: what has no line end within it is damage. */
const MAX_LINE_BYTES = 1024 * 1024
const OFFSET_FILE = 'offset.json'

/** A place in the journal: all before it has been read. */
export interface Position {
  segment: number
  offset: number
}

/** The reading end: complete events in the order in which they ended, from the committed place on. */
export class JournalReader {
  readonly #directory: string
  readonly #end: () => JournalEnd
  readonly #log: Logger
  readonly #joiner = new JournalJoiner()
  /** Lines are copied out of it as texts. */
  readonly #chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES)
  #position: Position | undefined
  #deleted = 0

  /** @param end of the writer, as it is at the moment of asking. */
  constructor(directory: string, end: () => JournalEnd, log: Logger) {
    this.#directory = directory
    this.#end = end
    this.#log = log
  }

  /** `max` complete events or some more, fewer only when the journal ends, and the place behind them; `commit` it once they are kept. */
  async read(max: number): Promise<{ events: EventText[]; position: Position }> {
    try {
      return await this.#read(max)
    } catch (cause) {
      this.#position = undefined // what was read is lost with this call: begin again at the committed place
      throw cause
    }
  }

  async #read(max: number): Promise<{ events: EventText[]; position: Position }> {
    const position = (this.#position ??= await this.#resume())
    const joined: Joined = { events: [], aside: [] }
    for (;;) {
      const live = this.#end()
      const isLast = position.segment >= live.segment
      const limit = isLast ? live.size : await this.#sizeOf(position.segment)
      const read = await this.#readLines(position, limit, joined)
      if (joined.events.length >= max) break
      if (read > 0) continue
      if (isLast) break
      position.segment = await this.#next(position.segment, live.segment)
      position.offset = 0
    }
    return { events: joined.events, position: { ...position } }
  }

  /**
   * Deletes the segments before the place and remembers it. In this order a full disk gets room again; a crash between the two
   * only repeats events.
   */
  async commit(position: Position): Promise<void> {
    if (this.#deleted < position.segment) {
      for (const number of segmentNumbers(await readdir(this.#directory)).filter((segment) => segment < position.segment)) {
        await unlink(join(this.#directory, segmentName(number)))
      }
      this.#deleted = position.segment
    }
    const path = join(this.#directory, OFFSET_FILE)
    await writeFile(`${path}.new`, JSON.stringify(position), { mode: 0o600 })
    await rename(`${path}.new`, path)
  }

  /** Puts a line that cannot be used beside the segments, for a person to look at. */
  async setAside(line: string, reason: string, segment = this.#position?.segment ?? 0): Promise<void> {
    const file = `corrupt-${segment}.jsonl`
    this.#log.warn('audit journal: a record was set aside', { reason, file, bytes: line.length })
    await appendFile(join(this.#directory, file), `${line}\n`, { mode: 0o600 })
  }

  /** The committed place, with the starts open at it: a segment repeats those of the one before, so its own beginning has all. */
  async #resume(): Promise<Position> {
    this.#joiner.forget()
    const segments = segmentNumbers(await readdir(this.#directory))
    const committed = await this.#readCommitted()
    const segment = segments.find((number) => number >= (committed?.segment ?? 0)) ?? this.#end().segment
    const target = { segment, offset: committed?.segment === segment ? committed.offset : 0 }
    const position = { segment, offset: 0 }
    while (position.offset < target.offset) {
      if ((await this.#readLines(position, target.offset, { events: [], aside: [] })) === 0) break
    }
    return position
  }

  async #readCommitted(): Promise<Position | undefined> {
    const text = await readFile(join(this.#directory, OFFSET_FILE), 'utf8').catch((cause: unknown) => {
      if (isMissing(cause)) return ''
      throw cause
    })
    const parsed = text === '' ? undefined : parseJson(text)
    const place = z.object({ segment: z.int().min(0), offset: z.int().min(0) }).safeParse(parsed)
    // Without it everything still there is sent again, which the store recognises by uid.
    if (!place.success && text !== '') this.#log.warn('audit journal: offset.json is damaged, sending again what is there')
    return place.data
  }

  /**
   * Takes the whole lines of one chunk between the place and `limit`, moving the place behind each.
   * Returns how many bytes were consumed; 0 also when only a line without its end is left.
   */
  async #readLines(position: Position, limit: number, joined: Joined): Promise<number> {
    const bytes = this.#readBytes(position, Math.min(limit - position.offset, CHUNK_BYTES), this.#chunk)
    const isPlain = !bytes.includes(0)
    let start = 0
    for (let end = bytes.indexOf(10); end !== -1; end = bytes.indexOf(10, start)) {
      this.#joiner.take(bytes.toString('utf8', start, end), isPlain, joined)
      start = end + 1
    }
    if (start === 0 && bytes.length === CHUNK_BYTES) return this.#readLongLine(position, limit, joined)
    position.offset += start
    await this.#setAsideAll(position, joined)
    return start
  }

  /** A line longer than a chunk: read whole when it may be a record, passed over in pieces when it cannot be one. */
  async #readLongLine(position: Position, limit: number, joined: Joined): Promise<number> {
    const length = Math.min(limit - position.offset, MAX_LINE_BYTES)
    const bytes = this.#readBytes(position, length, Buffer.allocUnsafe(Math.max(0, length)))
    const end = bytes.indexOf(10)
    if (end === -1 && bytes.length < MAX_LINE_BYTES) return 0
    const used = end === -1 ? bytes.length : end + 1
    const line = bytes.toString('utf8', 0, end === -1 ? bytes.length : end)
    if (end === -1) joined.aside.push({ line, reason: NO_RECORD })
    else this.#joiner.take(line, false, joined)
    position.offset += used
    await this.#setAsideAll(position, joined)
    return used
  }

  async #setAsideAll({ segment }: Position, { aside }: Joined): Promise<void> {
    for (const { line, reason } of aside.splice(0)) await this.setAside(line, reason, segment)
  }

  /** At once: what was just written is in memory, and is read in less time than it takes to ask another thread for it. */
  #readBytes({ segment, offset }: Position, length: number, into: Buffer): Buffer {
    if (length <= 0) return into.subarray(0, 0)
    const file = openSync(join(this.#directory, segmentName(segment)), 'r')
    try {
      return into.subarray(0, readSync(file, into, 0, length, offset))
    } finally {
      closeSync(file)
    }
  }

  async #sizeOf(segment: number): Promise<number> {
    return stat(join(this.#directory, segmentName(segment))).then(
      ({ size }) => size,
      (cause: unknown) => {
        if (!isMissing(cause)) throw cause
        this.#log.warn('audit journal: a segment is gone', { segment })
        return 0
      },
    )
  }

  async #next(segment: number, last: number): Promise<number> {
    return segmentNumbers(await readdir(this.#directory)).find((number) => number > segment) ?? last
  }
}

function isMissing(cause: unknown): boolean {
  return cause instanceof Error && 'code' in cause && cause.code === 'ENOENT'
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined // told by the caller
  }
}

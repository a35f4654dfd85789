import { createByteBuffer, tooLarge } from './byte-buffer.ts'
import { AppError } from './errors.ts'

/** One block of an event stream: its lines up to and including the blank one. */
export interface SseEvent {
  /** The exact bytes: joined, those of all events are the stream. The line feed of a CRLF already acted on begins the next event. */
  readonly raw: Buffer
  /** The event type; `message` when the block names none. */
  readonly event: string
  /** The data lines joined by line feeds, in UTF-8; of one line alone it is a part of `raw`. */
  readonly data: Buffer
  /** Whether there was a data line, be it empty. A block without one is not dispatched to a client, but may set an id. */
  readonly hasData: boolean
  readonly id?: string
  /** Reconnection time in milliseconds. */
  readonly retry?: number
  /** Whether the block holds only comments or nothing at all. */
  readonly isComment: boolean
}

export interface SseParser {
  /** The events completed by `chunk`; they may share memory with it. From an event over the limit on it throws `resource_exhausted`. */
  push(chunk: Uint8Array): SseEvent[]
  /** The bytes of the unfinished last block, which is no event (the specification says to discard it). */
  end(): Buffer | undefined
}

export interface SseOptions {
  /** Of one block with its blank line. Default 16 MiB. */
  readonly maxEventBytes?: number
  /** Called with chunks that no event shares memory with any more. */
  readonly giveBack?: (chunk: Uint8Array) => void
}

const LINE_FEED = 0x0a
const CARRIAGE_RETURN = 0x0d
const COLON = 0x3a
const SPACE = 0x20
const BYTE_ORDER_MARK = Buffer.from('\ufeff')
/** `event` and `retry`. */
const LONGEST_FIELD = 5
const NO_BYTES = Buffer.alloc(0)
const LINE_ENDS = /\r\n|\r|\n/g

/** Reads a Server-Sent Events stream (WHATWG HTML, 9.2.5 and 9.2.6) chunk by chunk. */
export function createSseParser({ maxEventBytes = 16 * 1024 * 1024, giveBack }: SseOptions = {}): SseParser {
  const pending = createByteBuffer(maxEventBytes, 'an event')
  const borders = createBorderFinder()
  /** Chunks of the pending block alone that it keeps as they are. Not of small ones, of which there may be millions. */
  const inner: Uint8Array[] = []
  let isFirst = true
  let isBroken = false

  function complete(bytes: Buffer): SseEvent {
    const raw = pending.length > 0 ? joined(bytes) : bytes
    if (raw.length > maxEventBytes) throw tooLarge(maxEventBytes, 'an event')
    const event = parseBlock(raw, isFirst)
    isFirst = false
    return event
  }

  function joined(bytes: Buffer): Buffer {
    pending.adopt(bytes)
    const raw = pending.take()
    // With one of these it had two pieces at least, so it is a copy.
    for (const chunk of inner.splice(0)) giveBack?.(chunk)
    return raw
  }

  function push(chunk: Uint8Array): SseEvent[] {
    if (isBroken) throw tooLarge(maxEventBytes, 'an event')
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    const events: SseEvent[] = []
    let start = 0
    try {
      for (const end of borders.find(bytes)) {
        events.push(complete(bytes.subarray(start, end)))
        start = end
      }
      if (start < bytes.length) {
        const isKept = pending.adopt(bytes.subarray(start))
        // One that begins with the end of an event shares memory with it.
        if (start === 0 && isKept) inner.push(chunk)
        else if (start === 0) giveBack?.(chunk)
      }
      return events
    } catch (error) {
      isBroken = true
      throw error
    }
  }

  return {
    push,
    end: () => (pending.length > 0 ? pending.take() : undefined),
  }
}

/** Bytes of one event. `event` and `id` must be one line, `id` without NUL; line ends in `data` make more data lines. */
export function frameSse(event: { data: string | Buffer; event?: string; id?: string; retry?: number }): Buffer {
  let head = ''
  if (event.event !== undefined) head += `event: ${oneLineField('event', event.event)}\n`
  if (event.id !== undefined) head += `id: ${oneLineField('id', event.id)}\n`
  if (event.retry !== undefined) head += `retry: ${checkRetry(event.retry)}\n`
  const { data } = event
  const isOneLine = !data.includes('\n') && !data.includes('\r')
  if (!isOneLine) return Buffer.from(`${head}data: ${data.toString().replaceAll(LINE_ENDS, '\ndata: ')}\n\n`)
  return typeof data === 'string'
    ? Buffer.from(`${head}data: ${data}\n\n`)
    : Buffer.concat([Buffer.from(`${head}data: `), data, Buffer.from('\n\n')])
}

/** Finds where blocks end: after the line end of each blank line. Remembers over chunks whether the current line is empty so far. */
function createBorderFinder(): { find(bytes: Buffer): number[] } {
  let isLineEmpty = true
  let followsReturn = false

  function find(bytes: Buffer): number[] {
    const borders: number[] = []
    let at = 0
    if (followsReturn && bytes[0] === LINE_FEED) at = 1
    if (bytes.length > 0) followsReturn = bytes[bytes.length - 1] === CARRIAGE_RETURN
    let feed = findByte(bytes, LINE_FEED, at)
    let carriage = findByte(bytes, CARRIAGE_RETURN, at)
    while (at < bytes.length) {
      const end = Math.min(feed, carriage)
      if (end > at) isLineEmpty = false
      if (end === bytes.length) break
      at = end === carriage && feed === end + 1 ? end + 2 : end + 1
      if (isLineEmpty) borders.push(at)
      isLineEmpty = true
      if (feed < at) feed = findByte(bytes, LINE_FEED, at)
      if (carriage < at) carriage = findByte(bytes, CARRIAGE_RETURN, at)
    }
    return borders
  }

  return { find }
}

/** The place of `byte`, or the length when there is none. */
function findByte(bytes: Buffer, byte: number, from: number): number {
  const at = bytes.indexOf(byte, from)
  return at === -1 ? bytes.length : at
}

function parseBlock(raw: Buffer, isFirst: boolean): SseEvent {
  const data = createDataLines(raw)
  let event = ''
  let id: string | undefined
  let retry: number | undefined
  let isComment = true
  let at = isFirst && raw.subarray(0, BYTE_ORDER_MARK.length).equals(BYTE_ORDER_MARK) ? BYTE_ORDER_MARK.length : 0
  for (const end of lineEnds(raw, at)) {
    const from = at
    at = raw[end] === CARRIAGE_RETURN && raw[end + 1] === LINE_FEED ? end + 2 : end + 1
    if (from === end || raw[from] === COLON) continue
    isComment = false
    const { name, valueAt } = parseField(raw, from, end)
    if (name === 'data') data.add(valueAt, end)
    else if (name === 'event') event = raw.toString('utf8', valueAt, end)
    else if (name === 'id' && !raw.subarray(valueAt, end).includes(0)) id = raw.toString('utf8', valueAt, end)
    else if (name === 'retry') retry = parseRetry(raw.toString('utf8', valueAt, end)) ?? retry
  }
  const joined = data.join()
  return {
    raw,
    event: event === '' ? 'message' : event,
    data: joined ?? NO_BYTES,
    hasData: joined !== undefined,
    isComment,
    ...(id !== undefined && { id }),
    ...(retry !== undefined && { retry }),
  }
}

/** Where each line ends. One by one: a block of a few bytes a line would make millions of them at once. */
function* lineEnds(raw: Buffer, from: number): Generator<number, void> {
  let feed = findByte(raw, LINE_FEED, from)
  let carriage = findByte(raw, CARRIAGE_RETURN, from)
  for (let end = Math.min(feed, carriage); end < raw.length; end = Math.min(feed, carriage)) {
    yield end
    // The line feed after a carriage return ends no line of its own.
    const next = end === carriage && feed === end + 1 ? end + 2 : end + 1
    if (feed < next) feed = findByte(raw, LINE_FEED, next)
    if (carriage < next) carriage = findByte(raw, CARRIAGE_RETURN, next)
  }
}

/** Of a longer name, none of which means anything, only the beginning. */
function parseField(raw: Buffer, from: number, to: number): { name: string; valueAt: number } {
  let end = from
  while (end < to && end - from <= LONGEST_FIELD && raw[end] !== COLON) end++
  const name = raw.toString('latin1', from, end)
  if (end === to) return { name, valueAt: to }
  return { name, valueAt: raw[end + 1] === SPACE ? end + 2 : end + 1 }
}

/** Joins data lines by line feeds. One alone stays a part of the block; of more only the bytes are kept: there may be millions of a few. */
function createDataLines(raw: Buffer): { add(from: number, to: number): void; join(): Buffer | undefined } {
  let first: Buffer | undefined
  let joined: Buffer | undefined
  let used = 0
  return {
    add(from, to) {
      if (!first) return void (first = raw.subarray(from, to))
      // Each line has more bytes in the block than here.
      joined ??= Buffer.allocUnsafe(raw.length)
      if (used === 0) used = first.copy(joined)
      joined[used] = LINE_FEED
      used += 1 + raw.copy(joined, used + 1, from, to)
    },
    join: () => joined?.subarray(0, used) ?? first,
  }
}

function parseRetry(value: string): number | undefined {
  const ms = /^\d+$/.test(value) ? Number(value) : undefined
  return Number.isSafeInteger(ms) ? ms : undefined
}

function oneLineField(name: string, value: string): string {
  if (/[\r\n\0]/.test(value)) throw new AppError('invalid_argument', `the ${name} of an event must be one line without NUL`)
  return value
}

function checkRetry(ms: number): number {
  if (!Number.isSafeInteger(ms) || ms < 0) throw new AppError('invalid_argument', 'the retry of an event must be whole milliseconds')
  return ms
}

import { createByteBuffer, tooLarge } from './byte-buffer.ts'
import { AppError } from './errors.ts'

/** One block of an event stream: its lines up to and including the blank one. */
export interface SseEvent {
  /** The exact bytes: joined, those of all events are the stream. The line feed of a CRLF already acted on begins the next event. */
  readonly raw: Buffer
  /** The event type; `message` when the block names none. */
  readonly event: string
  /** The data lines joined by line feeds. */
  readonly data: string
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

export interface SseLimits {
  /** Of one block with its blank line. Default 16 MiB. */
  readonly maxEventBytes?: number
}

const LINE_FEED = 0x0a
const CARRIAGE_RETURN = 0x0d
const LINE_ENDS = /\r\n|\r|\n/g

/** Reads a Server-Sent Events stream (WHATWG HTML, 9.2.5 and 9.2.6) chunk by chunk. */
export function createSseParser({ maxEventBytes = 16 * 1024 * 1024 }: SseLimits = {}): SseParser {
  const pending = createByteBuffer(maxEventBytes, 'an event')
  const borders = createBorderFinder()
  let isFirst = true
  let isBroken = false

  function complete(bytes: Buffer): SseEvent {
    if (pending.length > 0) pending.append(bytes)
    const raw = pending.length > 0 ? pending.take() : bytes
    if (raw.length > maxEventBytes) throw tooLarge(maxEventBytes, 'an event')
    const event = parseBlock(raw, isFirst)
    isFirst = false
    return event
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
      if (start < bytes.length) pending.append(bytes.subarray(start))
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

/** Text of one event. `event` and `id` must be one line, `id` without NUL; line ends in `data` make more data lines. */
export function frameSse(event: { data: string; event?: string; id?: string; retry?: number }): Buffer {
  let head = ''
  if (event.event !== undefined) head += `event: ${oneLineField('event', event.event)}\n`
  if (event.id !== undefined) head += `id: ${oneLineField('id', event.id)}\n`
  if (event.retry !== undefined) head += `retry: ${checkRetry(event.retry)}\n`
  const isOneLine = !event.data.includes('\n') && !event.data.includes('\r')
  const data = isOneLine ? event.data : event.data.replaceAll(LINE_ENDS, '\ndata: ')
  return Buffer.from(`${head}data: ${data}\n\n`)
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
  const text = raw.toString('utf8')
  let at = isFirst && text.startsWith('\ufeff') ? 1 : 0
  const data: string[] = []
  let event = ''
  let id: string | undefined
  let retry: number | undefined
  let isComment = true
  // Line by line, not split: a block of a few bytes a line would make millions of strings at once.
  for (const { index, 0: lineEnd } of text.matchAll(LINE_ENDS)) {
    const line = text.slice(at, index)
    at = index + lineEnd.length
    if (line === '' || line.startsWith(':')) continue
    isComment = false
    const colon = line.indexOf(':')
    const name = colon === -1 ? line : line.slice(0, colon)
    const value = colon === -1 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1)
    if (name === 'data') data.push(value)
    else if (name === 'event') event = value
    else if (name === 'id' && !value.includes('\0')) id = value
    else if (name === 'retry') retry = parseRetry(value) ?? retry
  }
  return {
    raw,
    event: event === '' ? 'message' : event,
    data: data.join('\n'),
    hasData: data.length > 0,
    isComment,
    ...(id !== undefined && { id }),
    ...(retry !== undefined && { retry }),
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

import { createByteBuffer } from '../../lib/byte-buffer.ts'
import type { ByteBuffer } from '../../lib/byte-buffer.ts'
import type { AppError } from '../../lib/errors.ts'
import { fieldOf } from '../../lib/http-wire/response-head.ts'
import type { HeaderFields } from '../../lib/http-wire/response-head.ts'
import { createSseParser, frameSse } from '../../lib/sse.ts'
import type { SseEvent, SseParser } from '../../lib/sse.ts'
import { notProtocol } from './http-fault.ts'
import { sizeOfEvent, toEvent } from './in-flight.ts'
import { beginsBatch, takeApart } from './message-batch.ts'
import { createQueue } from './queue.ts'
import type { Queue } from './queue.ts'
import { refuseRedirect } from './redirect.ts'
import type { Reply } from './upstream.ts'

/** What becomes of the body. */
export interface Sink {
  /** The pause between two pieces is bounded. */
  readonly isBounded: boolean
  take(chunk: Buffer): void
  end(): void
  fail(error: AppError): void
}

/** How a sink acts on the exchange it belongs to. */
export interface Link {
  server: string
  expect: 'response' | 'nothing' | 'events'
  whole: boolean
  /** Whether several messages may come as one. */
  batches: boolean
  resolve(reply: Reply): void
  /** Enough was read: the rest of the answer is not wanted. */
  stop(): void
  pause(): void
  resume(): void
  /** Nobody looks at a piece any more. */
  giveBack(chunk: Uint8Array): void
  /** Another sink takes the rest. */
  replace(sink: Sink): void
}

const KEPT_SMALL = 64 * 1024
const MAX_WHOLE = 16 * 1024 * 1024
/** Where reading from the server stops, and where it goes on. */
const PAUSE_AT = 256 * 1024
const RESUME_AT = 64 * 1024
/** What a piece takes beside its bytes, roughly. */
const PIECE_BYTES = 128
const NO_REPLY: Reply = { kind: 'accepted' }

/** @throws AppError unavailable for an answer that is not the protocol. */
export function chooseSink(link: Link, status: number, fields: HeaderFields): Sink {
  const { server, expect, whole } = link
  const type = mediaType(fields)
  if (status === 202 || status === 204 || (expect === 'nothing' && status < 300)) return acceptNothing(link, type)
  if (status >= 300 && status < 400) {
    link.resolve(refuseRedirect(server, status, fieldOf(fields, 'location')))
    return discard(link)
  }
  if (!isSuccess(status)) return keepRefusal(link, status, fieldOf(fields, 'content-type') ?? '')
  const encoding = fieldOf(fields, 'content-encoding')
  if (encoding && encoding.toLowerCase() !== 'identity') throw notProtocol(server, 'it encodes its answers although nobody asked for that')
  if (type === 'text/event-stream') return passEvents(link)
  if (type === 'application/json' && expect === 'response') {
    const length = Number(fieldOf(fields, 'content-length') ?? 0)
    return !whole && length > KEPT_SMALL ? passLarge(link, length) : collect(link)
  }
  // What is there for people is no stream.
  if (expect === 'events') return acceptNothing(link, type)
  return expectNothing(link, type)
}

/** MCP says 200; frameworks answer a POST with 201 unless told otherwise, and clients take any of these. */
export function isSuccess(status: number): boolean {
  return status >= 200 && status < 300
}

function acceptNothing(link: Link, type: string): Sink {
  link.resolve(NO_REPLY)
  if (type === 'text/event-stream') queueMicrotask(() => link.stop())
  return discard(link)
}

/** What is small is read to its end, so that the connection can be used again. */
function discard(link: Link): Sink {
  let size = 0
  return {
    isBounded: true,
    take(chunk) {
      size += chunk.length
      if (size > KEPT_SMALL) link.stop()
    },
    end() {},
    fail() {},
  }
}

/** Small answers stay in one piece; larger ones become a stream unless they have to be read as a whole. */
function collect(link: Link): Sink {
  const { server, whole } = link
  /** The only piece, as it mostly is; more of them are copied together, since a server could send a great many small ones. */
  let only: Buffer | undefined
  let more: ByteBuffer | undefined
  let isBatch = false
  return {
    isBounded: true,
    take(chunk) {
      const size = (only?.length ?? 0) + (more?.length ?? 0) + chunk.length
      if (size > MAX_WHOLE) throw notProtocol(server, `an answer that has to be filtered is larger than ${MAX_WHOLE} bytes`)
      if (size === chunk.length) {
        only = chunk
        isBatch = beginsBatch(chunk)
        if (isBatch && !link.batches) takeApart(chunk, server, false)
      } else {
        more ??= createByteBuffer(MAX_WHOLE, 'an answer')
        if (only) more.adopt(only)
        only = undefined
        more.adopt(chunk)
      }
      if (!whole && !isBatch && size > KEPT_SMALL) link.replace(passChunks(link, { begun: only ?? more?.take() }))
    },
    end() {
      const bytes = only ?? more?.take()
      if (bytes && isBatch) return link.resolve(toReply(takeApart(bytes, server, true)))
      link.resolve(bytes ? { kind: 'message', bytes } : NO_REPLY)
    },
    fail() {},
  }
}

/** To the client a batch is a stream of its messages, which all revisions know. */
function toReply(messages: readonly Buffer[]): Reply {
  const [only] = messages
  return messages.length === 1 && only ? { kind: 'message', bytes: only } : { kind: 'events', events: eventsOf(messages) }
}

async function* eventsOf(messages: readonly Buffer[]): AsyncGenerator<SseEvent, void> {
  for (const message of messages) yield toEvent(message)
}

/** What is known to be large is passed on piece by piece, unless it is a batch. */
function passLarge(link: Link, length: number): Sink {
  return {
    isBounded: true,
    take(chunk) {
      const sink = beginsBatch(chunk) ? collect(link) : passChunks(link, { length })
      link.replace(sink)
      sink.take(chunk)
    },
    end: () => link.resolve(NO_REPLY),
    fail() {},
  }
}

function passChunks(link: Link, { length, begun }: { length?: number; begun?: Buffer | undefined }): Sink {
  const flow = createFlow<Buffer>(link, (chunk) => chunk.length + PIECE_BYTES)
  link.resolve({ kind: 'stream', chunks: flow.queue, length, giveBack: (chunk) => link.giveBack(chunk) })
  if (begun) flow.push(begun)
  return { isBounded: true, take: flow.push, end: flow.queue.end, fail: (error) => flow.queue.fail(error, error.code === 'cancelled') }
}

function passEvents(link: Link): Sink {
  const flow = createFlow<SseEvent>(link, sizeOfEvent)
  const parser: SseParser = createSseParser({ giveBack: (chunk) => link.giveBack(chunk) })
  link.resolve({ kind: 'events', events: flow.queue })
  return {
    isBounded: false,
    take(chunk) {
      for (const event of pushTo(parser, chunk, link.server)) {
        if (beginsBatch(event.data)) for (const one of eachOf(event, link)) flow.push(one)
        else flow.push(event)
      }
    },
    end: flow.queue.end,
    fail: (error) => flow.queue.fail(error, error.code === 'cancelled'),
  }
}

/**
 * The messages of an event. The last has what names the place in the stream, for all of them would come again. A stream that answers nothing
 * is not ended by what it must not have: whoever reads it judges that.
 */
function eachOf(event: SseEvent, { server, batches, expect }: Link): SseEvent[] {
  if (!batches && expect === 'events') return [event]
  const messages = takeApart(event.data, server, batches)
  return messages.map((message, at) => (at < messages.length - 1 ? toEvent(message) : { ...event, ...placed(message, event) }))
}

function placed(message: Buffer, { id, retry }: SseEvent): Pick<SseEvent, 'raw' | 'data'> {
  return { data: message, raw: frameSse({ data: message, ...(id !== undefined && { id }), ...(retry !== undefined && { retry }) }) }
}

function pushTo(parser: SseParser, chunk: Buffer, server: string): SseEvent[] {
  try {
    return parser.push(chunk)
  } catch (cause) {
    throw notProtocol(server, 'an event of its stream is too large', cause)
  }
}

/** A queue that stops the connection while its reader is slow. */
function createFlow<T>(link: Link, sizeOf: (item: T) => number): { queue: Queue<T>; push(item: T): void } {
  let isPaused = false
  const queue: Queue<T> = createQueue({
    sizeOf,
    onTake() {
      if (!isPaused || queue.bytes() > RESUME_AT) return
      isPaused = false
      link.resume()
    },
    onAbandon: () => link.stop(),
  })
  return {
    queue,
    push(item) {
      queue.push(item)
      if (isPaused || queue.bytes() <= PAUSE_AT) return
      isPaused = true
      link.pause()
    },
  }
}

function keepRefusal(link: Link, status: number, contentType: string): Sink {
  const chunks: Buffer[] = []
  let size = 0
  const finish = (): void => link.resolve({ kind: 'refused', status, bytes: Buffer.concat(chunks).subarray(0, KEPT_SMALL), contentType })
  return {
    isBounded: true,
    take(chunk) {
      chunks.push(chunk)
      size += chunk.length
      if (size < KEPT_SMALL) return
      finish()
      link.stop()
    },
    end: finish,
    fail() {},
  }
}

/** An answer of another type is fine only when it is empty. */
function expectNothing(link: Link, type: string): Sink {
  return {
    isBounded: true,
    take(chunk) {
      if (chunk.length > 0) throw notProtocol(link.server, `its answer is of type ${JSON.stringify(type.slice(0, 100))}`)
    },
    end: () => link.resolve(NO_REPLY),
    fail() {},
  }
}

function mediaType(fields: HeaderFields): string {
  return (fieldOf(fields, 'content-type') ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? ''
}

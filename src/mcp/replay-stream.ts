import { frameSse, type SseEvent } from '../lib/sse.ts'

/** The connection that the events of a stream go to. */
export interface Sink {
  write(bytes: Uint8Array): Promise<void>
  /** The client has another connection now. */
  handOver(): void
}

export interface ReplayStreamOptions {
  /** Whether an event with an id and without data comes first (2025-11-25, Streamable HTTP: clients older than that cannot read it). */
  primes: boolean
  /** Whether it answers several requests, so that a client may come back after an answer for the next. */
  isShared?: boolean
  /** Whether the events of a server that gives ids of its own are kept too; not where a client that comes back is the server's to serve. */
  keepsForeign: boolean
  /** Begins the ids of this stream; nobody can guess it. */
  makeKey: () => string
  now: () => number
  /** Kept at most, of which the oldest go first. */
  limits: { events: number; streamBytes: number }
  /** Tells of every change of `bytes`. */
  onBytes: (change: number) => void
  /** Tells of the end, and whether a client may come back for what was sent. */
  onEnd: (isKept: boolean) => void
}

interface Kept {
  id: string | undefined
  bytes: Buffer
}

/** A client that came back. */
interface Reader {
  /** Place of the event it gets next. */
  next: number
  readonly sink: Sink
  isOver: boolean
  /** Settles when there may be more to read. */
  more: PromiseWithResolvers<void>
  /** Present while the one who sends waits for it. */
  caughtUp: PromiseWithResolvers<void> | undefined
}

/** What an event takes beside its bytes, roughly. */
const EVENT_BYTES = 128
const LINE_FEED = 0x0a

/**
 * The events of one stream: each gets an id unless the MCP server gives ids, and is kept for a client that lost the connection and names the
 * last event it has (2025-03-26 to 2025-11-25, Streamable HTTP, Resumability and Redelivery). Events have places, counted from 0; those
 * before `#dropped` are gone.
 */
export class ReplayStream {
  readonly #options: ReplayStreamOptions
  readonly #kept: Kept[] = []
  #dropped = 0
  #lastDroppedId: string | undefined
  #bytes = 0
  /** The connection that began it; undefined when it is gone for good. */
  #sink: Sink | undefined
  #reader: Reader | undefined
  #key: string | undefined
  #count = 0
  #hasForeignIds = false
  /** The client has no id yet, and so could not come back. */
  #isQuiet = true
  #isAnswered = false
  #isReleased = false
  #endedAt: number | undefined

  constructor(options: ReplayStreamOptions, sink?: Sink) {
    this.#options = options
    this.#sink = sink
  }

  /** Of what is kept, with something for each event. */
  get bytes(): number {
    return this.#bytes
  }

  /** Milliseconds since the epoch; undefined while there may be more. */
  get endedAt(): number | undefined {
    return this.#endedAt
  }

  /** Sends an event that was judged to whoever follows, and waits for a slow one. Resolves too when nobody does. */
  async take(event: SseEvent, bytes: Buffer, isAnswer = false): Promise<void> {
    const isForeign = event.id !== undefined && event.id !== ''
    this.#hasForeignIds ||= isForeign
    this.#isAnswered ||= isAnswer
    // Without an event before it, nobody could come back for the answer.
    if (isAnswer && this.#isQuiet && this.#options.isShared !== true) return this.#sink?.write(bytes)
    if (this.#hasForeignIds) {
      this.#isQuiet = false
      if (!this.#options.keepsForeign || event.isComment) return this.#sink?.write(bytes)
      return this.#send(isForeign ? event.id : undefined, Buffer.from(bytes))
    }
    if (!event.hasData) return this.#pass(bytes)
    // What can be sent at once is: the stream may end right after.
    if (this.#isQuiet) await this.prime()
    this.#isQuiet = false
    const id = this.#nextId()
    return this.#send(id, withId(id, bytes))
  }

  /** An answer of the gateway's own. */
  async say(data: string): Promise<void> {
    const bytes = frameSse({ data })
    return this.take({ raw: bytes, event: 'message', data: Buffer.from(data), hasData: true, isComment: false }, bytes, true)
  }

  /** Gives a client that has no id yet the place where it is. */
  async prime(): Promise<void> {
    if (!this.#isQuiet || !this.#options.primes || !this.#sink) return
    this.#isQuiet = false
    const id = this.#nextId()
    await this.#send(id, frameSse({ id, data: '' }))
  }

  /** The place of an event the client has; undefined when it is not of this stream, or something after it is gone. */
  find(id: string): number | undefined {
    const at = this.#kept.findLastIndex((kept) => kept.id === id)
    if (at >= 0) return this.#dropped + at
    return this.#dropped > 0 && id === this.#lastDroppedId ? this.#dropped - 1 : undefined
  }

  /** Whether nothing comes after an event any more. */
  isOverAfter(place: number): boolean {
    return this.#endedAt !== undefined && place === this.#dropped + this.#kept.length - 1
  }

  /** Sends what comes after a place of this stream, until it ends, `signal` fires or the client comes back once more. */
  async follow(after: { place: number; id: string }, sink: Sink, signal: AbortSignal): Promise<void> {
    this.#leaveSink()
    if (this.#reader) stop(this.#reader)
    this.#reader?.sink.handOver()
    const reader: Reader = { next: after.place + 1, sink, isOver: signal.aborted, more: Promise.withResolvers(), caughtUp: undefined }
    this.#reader = reader
    const onGone = (): void => stop(reader)
    signal.addEventListener('abort', onGone, { once: true })
    try {
      await this.#echo(after.id, sink)
      await this.#readOn(reader)
    } finally {
      signal.removeEventListener('abort', onGone)
      stop(reader)
      if (this.#reader === reader) this.#reader = undefined
      this.#shed()
    }
  }

  /**
   * Goes on at another connection, for a stream that has no end of its own. Sends first what comes after a place of it.
   * @param isForeign the client named an event of the MCP server, whose id it has to keep.
   */
  async attach(sink: Sink, after: { place: number; id: string } | undefined, isForeign: boolean): Promise<void> {
    this.#sink = undefined
    this.#endedAt = undefined
    this.#isQuiet = after === undefined && !isForeign
    this.#hasForeignIds = isForeign
    if (after) {
      await this.#echo(after.id, sink)
      let kept: Kept | undefined
      for (let place = after.place + 1; (kept = this.#kept[place - this.#dropped]); place++) await sink.write(kept.bytes)
    }
    this.#sink = sink
  }

  /** The connection is gone; the client may come back. */
  detach(sink: Sink): void {
    if (this.#sink !== sink) return
    this.#sink = undefined
    this.#endedAt = this.#options.now()
  }

  /** Nothing more comes. What ended without an answer is the server's to resume, which gave ids for that. */
  end(): void {
    if (this.#endedAt !== undefined) return
    this.#endedAt = this.#options.now()
    this.#sink = undefined
    this.#reader?.more.resolve()
    this.#options.onEnd(this.#isAnswered && this.#dropped + this.#kept.length > 0)
  }

  /** Forgets the oldest event, unless somebody is about to read it. @returns whether there was one. */
  dropOldest(): boolean {
    const [oldest] = this.#kept
    if (!oldest || (this.#reader && this.#reader.next <= this.#dropped)) return false
    this.#kept.shift()
    this.#dropped += 1
    this.#lastDroppedId = oldest.id
    this.#grow(-oldest.bytes.byteLength - EVENT_BYTES)
    return true
  }

  /** Counts for nobody any more: who reads it now is the last one to. */
  release(): void {
    this.#grow(-this.#bytes)
    this.#isReleased = true
  }

  async #readOn(reader: Reader): Promise<void> {
    while (!reader.isOver) {
      const kept = this.#kept[reader.next - this.#dropped]
      if (kept) {
        reader.next += 1
        await reader.sink.write(kept.bytes)
        continue
      }
      if (this.#endedAt !== undefined) return
      reader.more = Promise.withResolvers()
      reader.caughtUp?.resolve()
      reader.caughtUp = undefined
      await reader.more.promise
    }
  }

  async #send(id: string | undefined, bytes: Buffer): Promise<void> {
    const [sink, reader] = [this.#sink, this.#reader]
    this.#kept.push({ id, bytes })
    this.#grow(bytes.byteLength + EVENT_BYTES)
    if (!reader) {
      this.#shed()
      return sink?.write(bytes)
    }
    reader.caughtUp ??= Promise.withResolvers()
    reader.more.resolve()
    await reader.caughtUp.promise
    this.#shed()
  }

  /** What no client has to get. */
  #pass(bytes: Buffer): Promise<void> | undefined {
    return (this.#reader?.sink ?? this.#sink)?.write(bytes)
  }

  /** Some clients forget the id they came back with unless they are told one. */
  async #echo(id: string, sink: Sink): Promise<void> {
    if (this.#options.primes) await sink.write(frameSse({ id, data: '' }))
  }

  #leaveSink(): void {
    this.#sink?.handOver()
    this.#sink = undefined
  }

  #nextId(): string {
    this.#key ??= this.#options.makeKey()
    return `${this.#key}-${++this.#count}`
  }

  #shed(): void {
    const { events, streamBytes } = this.#options.limits
    while (this.#kept.length > events || this.#bytes > streamBytes) if (!this.dropOldest()) return
  }

  #grow(change: number): void {
    if (this.#isReleased) return
    this.#bytes += change
    this.#options.onBytes(change)
  }
}

function stop(reader: Reader): void {
  reader.isOver = true
  reader.more.resolve()
  reader.caughtUp?.resolve()
}

/** The event with an id before its other lines. */
function withId(id: string, event: Buffer): Buffer {
  // A line feed that belongs to the event before (of CRLF) would end this one after its id.
  const begin = event[0] === LINE_FEED ? 1 : 0
  return Buffer.concat([Buffer.from(`id: ${id}\n`), begin === 0 ? event : event.subarray(begin)])
}

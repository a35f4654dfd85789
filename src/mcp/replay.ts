import { ReplayStream, type Sink } from './replay-stream.ts'

export interface ReplayLimits {
  /** Kept of one stream. */
  events: number
  streamBytes: number
  /** Of one session. */
  sessionBytes: number
  /** Streams of one session that have ended. */
  endedStreams: number
  /** Of all sessions with one MCP server. */
  totalBytes: number
  /** After the end of a stream. */
  keptMs: number
}

export interface ReplayDeps {
  now: () => number
  /** Random text of so many bytes. */
  token: (bytes: number) => string
  limits?: Partial<ReplayLimits>
}

const MIB = 1024 * 1024
export const REPLAY_LIMITS: ReplayLimits = {
  events: 256,
  streamBytes: MIB,
  sessionBytes: 4 * MIB,
  endedStreams: 128,
  totalBytes: 64 * MIB,
  keptMs: 5 * 60_000,
}
const TAG_BYTES = 6
const KEY_BYTES = 16

/** A place in a stream that a client may come back to. */
export interface Found {
  stream: ReplayStream
  place: number
  id: string
  /** It is the stream of messages outside requests. */
  isListening: boolean
}

/** What is kept for all sessions with one MCP server. */
export class Replays {
  readonly limits: ReplayLimits
  readonly now: () => number
  readonly #token: ReplayDeps['token']
  readonly #sessions = new Set<SessionReplay>()
  #bytes = 0
  #tag: string | undefined

  constructor({ now, token, limits }: ReplayDeps) {
    this.now = now
    this.#token = token
    this.limits = { ...REPLAY_LIMITS, ...limits }
  }

  open(): SessionReplay {
    const session = new SessionReplay(this)
    this.#sessions.add(session)
    return session
  }

  /** For `SessionReplay` only. */
  close(session: SessionReplay): void {
    if (this.#sessions.delete(session)) this.#bytes -= session.bytes
  }

  /** Whether an id was given out here, for whatever session: it means nothing to an MCP server. */
  isOurs(id: string): boolean {
    return this.#tag !== undefined && id.startsWith(this.#tag)
  }

  /** Begins the ids of a stream; from other gateways, and from what MCP servers give out, one can tell them. */
  makeKey(): string {
    this.#tag ??= `${this.#token(TAG_BYTES)}.`
    return this.#tag + this.#token(KEY_BYTES)
  }

  /** Counts for a session. When all of them have too much, the one that has most loses its oldest. */
  grow(session: SessionReplay, change: number): void {
    if (!this.#sessions.has(session)) return
    this.#bytes += change
    while (this.#bytes > this.limits.totalBytes) {
      let largest = session
      for (const one of this.#sessions) if (one.bytes > largest.bytes) largest = one
      if (!largest.dropOldest()) return
    }
  }
}

/** The streams that the client of one session may come back to. Only who may use the session gets to ask. */
export class SessionReplay {
  readonly #replays: Replays
  readonly #live = new Set<ReplayStream>()
  /** Oldest first. */
  readonly #ended = new Set<ReplayStream>()
  #listening: ReplayStream | undefined
  #bytes = 0

  constructor(replays: Replays) {
    this.#replays = replays
  }

  get bytes(): number {
    return this.#bytes
  }

  /** The stream that answers a request; a shared one, those of a batch. */
  stream(sink: Sink, primes: boolean, isShared = false): ReplayStream {
    const stream: ReplayStream = this.#create({ primes, keepsForeign: true, isShared }, sink, (isKept) => this.#over(stream, isKept))
    this.#live.add(stream)
    return stream
  }

  /** The stream of messages outside requests: one, over all connections of the client. */
  listening(primes: boolean): ReplayStream {
    this.#listening ??= this.#create({ primes, keepsForeign: false }, undefined, () => undefined)
    return this.#listening
  }

  /** Where the event of this id is; undefined when it is not of this session, forged, or too much after it is gone. */
  find(id: string): Found | undefined {
    for (const stream of [...this.#live, ...this.#ended]) {
      const place = stream.find(id)
      if (place !== undefined) return { stream, place, id, isListening: false }
    }
    const place = this.#listening?.find(id)
    return this.#listening && place !== undefined ? { stream: this.#listening, place, id, isListening: true } : undefined
  }

  /** Forgets what is too old, and gives the clients of silent streams an id to come back with. */
  sweep(): void {
    const { now, limits } = this.#replays
    const oldest = now() - limits.keptMs
    for (const stream of this.#ended) if (isOlder(stream, oldest)) this.#forget(stream)
    if (this.#listening && isOlder(this.#listening, oldest)) {
      this.#forget(this.#listening)
      this.#listening = undefined
    }
    for (const stream of this.#live) void stream.prime()
    void this.#listening?.prime()
  }

  /** Its session is over. */
  close(): void {
    this.#replays.close(this)
    this.#ended.clear()
  }

  /** @returns whether there was something that may go: what has ended goes before what somebody waits for. */
  dropOldest(): boolean {
    for (const stream of this.#ended) {
      if (this.#forget(stream)) return true
    }
    let largest = this.#listening
    for (const stream of this.#live) if (!largest || stream.bytes > largest.bytes) largest = stream
    return largest?.dropOldest() ?? false
  }

  #create(
    kind: { primes: boolean; keepsForeign: boolean; isShared?: boolean },
    sink: Sink | undefined,
    onEnd: (isKept: boolean) => void,
  ): ReplayStream {
    const { limits, now } = this.#replays
    const makeKey = (): string => this.#replays.makeKey()
    return new ReplayStream({ ...kind, makeKey, now, limits, onBytes: (change) => this.#grow(change), onEnd }, sink)
  }

  #over(stream: ReplayStream, isKept: boolean): void {
    this.#live.delete(stream)
    if (!isKept) return void this.#forget(stream)
    this.#ended.add(stream)
    const [oldest] = this.#ended
    if (oldest && this.#ended.size > this.#replays.limits.endedStreams) this.#forget(oldest)
  }

  /** @returns whether that made room. Who reads it now keeps it, and it is not counted any more. */
  #forget(stream: ReplayStream): boolean {
    this.#ended.delete(stream)
    const { bytes } = stream
    stream.release()
    return bytes > 0
  }

  #grow(change: number): void {
    this.#bytes += change
    this.#replays.grow(this, change)
    while (change > 0 && this.#bytes > this.#replays.limits.sessionBytes) if (!this.dropOldest()) return
  }
}

function isOlder({ endedAt }: ReplayStream, time: number): boolean {
  return endedAt !== undefined && endedAt <= time
}

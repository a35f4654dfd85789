import { AppError, type Origin } from '../lib/errors.ts'
import { type Listed, Roster } from '../lib/roster.ts'
import type { Identity } from '../resources/identity.ts'
import type { Caller } from './caller.ts'
import type { Mirrors } from './eras/mirrors.ts'
import { REVISIONS } from './eras/revisions.ts'
import type { ListFollower } from './list-changes.ts'
import type { ListKind } from './list-kinds.ts'
import type { ClientMessage, Fields } from './message.ts'
import { findMethod } from './methods.ts'
import type { Outlet } from './outlet.ts'
import type { Recorder } from './recorder.ts'
import type { Replays, SessionReplay } from './replay.ts'
import type { ReplayStream } from './replay-stream.ts'
import { idKey, keyOfRaw } from './request-ids.ts'
import type { KnownAnswer } from './response.ts'
import type { UpstreamSession } from './upstream/upstream.ts'

export interface ConversationParts {
  /** Session id of a legacy client, owner key of a modern one. */
  id: string
  era: 'legacy' | 'modern'
  /** Who opened it, as of the latest request: another assertion of the same credential. */
  seen: { caller: Caller }
  owner: string
  upstream: UpstreamSession
  recorder: Recorder
  replays: Replays
  openedAt: number
}

/** A request on its way, as its conversation knows it. */
export interface RunningRequest extends Listed {
  readonly message: ClientMessage
  /** Its id as `keyOfRaw` gives it. */
  readonly key: string
  /** Between sending and the end of the stream that answers it. */
  readonly isUnderWay: boolean
  /** The response, ready for the client and its end recorded; throws when it cannot be judged. It may leave once `written` has settled. */
  judge(bytes: Buffer, known?: KnownAnswer): { bytes: Buffer; response: Fields | undefined; written: Promise<unknown> }
  /** Records that it failed, and whose failure it was; at once, and resolves when that is written. */
  interrupt(error: string, origin?: Origin): Promise<void>
  /** Whether its caller may still ask for it. */
  readonly isAllowed: boolean
  /** For one that has no end of its own: records that it ended well; at once, and resolves when that is written. */
  conclude(): Promise<void>
  /** Breaks it off. */
  abort(): void
}

/** Requests of one conversation that have no answer yet, and questions of its server. */
const MAX_OPEN = 1000
/** Of those requests, which are kept whoever leaves. */
const MAX_OPEN_BYTES = 64 * 1024 * 1024
const MAX_ASKED_KEY_CHARS = 1024

/**
 * What one client and one MCP server have with each other: a session of the legacy revisions, or the running requests
 * of one caller in the modern one. It ends once, for everybody: streams, requests in flight, the upstream's side, the audit log.
 */
export class Conversation {
  readonly id: string
  readonly era: 'legacy' | 'modern'
  /** Whose credential opened it: a lock or revocation of that ends it. */
  readonly identity: Identity
  readonly #seen: { caller: Caller }
  readonly owner: string
  readonly upstream: UpstreamSession
  readonly recorder: Recorder
  /** From the lists of tools this client was given. */
  readonly mirrors: Mirrors = new Map()
  readonly #replays: Replays
  /** Made for the first stream of events. */
  #replay: SessionReplay | undefined
  /** Fires at the end. Requests listen to signals of their own: thousands of them would pile up on this one. */
  readonly #ending = new AbortController()
  readonly #running = new Roster<RunningRequest>()
  #runningBytes = 0
  /** Requests of the server that the client has not answered. */
  readonly #asked = new Set<string>()
  readonly #outlets = new Roster<Outlet>()
  #revision: string | undefined
  /** Lists that the server of a session has. */
  #lists: readonly ListKind[] = []
  /** Streams on which the client hears of lists that changed; a session has one at most. */
  #followers: Set<ListFollower> | undefined
  /** Lists changed while nobody followed. */
  #hasMissed = false
  #listening: AbortController | undefined
  #usedAt: number
  #why: AppError | undefined

  constructor(parts: ConversationParts) {
    this.id = parts.id
    this.era = parts.era
    this.identity = parts.seen.caller.identity
    this.#seen = parts.seen
    this.owner = parts.owner
    this.upstream = parts.upstream
    this.recorder = parts.recorder
    this.#replays = parts.replays
    this.#usedAt = parts.openedAt
  }

  get signal(): AbortSignal {
    return this.#ending.signal
  }

  get revision(): string | undefined {
    return this.#revision
  }

  negotiated(revision: string | undefined, lists: readonly ListKind[] = []): void {
    this.#revision = revision
    this.#lists = lists
  }

  /** Who it is, as of the latest request. */
  get caller(): Caller {
    return this.#seen.caller
  }

  get lists(): readonly ListKind[] {
    return this.#lists
  }

  /** Tells a stream from now on when lists are others; a session of which it was missed while there was none, at once. Returns what ends that. */
  follow(follower: ListFollower): () => void {
    this.#followers ??= new Set()
    this.#followers.add(follower)
    if (this.#hasMissed) follower.tell()
    this.#hasMissed = false
    return () => this.#followers?.delete(follower)
  }

  /** What the caller may use is not what it was: subscriptions that are not allowed any more end, and the client is told. */
  accessChanged(): void {
    for (const request of this.#running.list()) {
      if (!findMethod(request.message.method)?.endless || request.isAllowed) continue
      request.conclude().catch(() => undefined) // whoever relays it is told
      request.abort()
    }
    this.#hasMissed = this.era === 'legacy' && !this.#followers?.size
    for (const follower of this.#followers ?? []) follower.tell()
  }

  /** Whether a request is under way that will end: a subscription does not. */
  get isBusy(): boolean {
    return this.#running.find(({ message }) => !findMethod(message.method)?.endless) !== undefined
  }

  /** @throws AppError resource_exhausted for too many requests at a time, invalid_argument for an id that another request of the session has. */
  assertRoomFor(id: string | undefined): void {
    const { size } = this.#running
    if (size >= MAX_OPEN || this.#runningBytes >= MAX_OPEN_BYTES)
      throw new AppError('resource_exhausted', `${size} requests of this MCP session have no answer yet: wait, or cancel some`)
    if (this.findWaiting(keyOfRaw(id)))
      throw new AppError('invalid_argument', 'the request id is in use in this MCP session: use another', { details: { rpc: -32600 } })
  }

  begin(request: RunningRequest): void {
    this.#running.add(request)
    this.#runningBytes += request.message.bytes.byteLength
  }

  finish(request: RunningRequest): void {
    if (this.#running.delete(request)) this.#runningBytes -= request.message.bytes.byteLength
  }

  /** The request that a response on a stream of this conversation answers, by its `idKey`. Few run at a time: looking through them is quick. */
  findWaiting(key: string): RunningRequest | undefined {
    return this.era === 'legacy' ? this.#running.find((request) => request.key === key) : undefined
  }

  /** The server asked the client something: the client may answer it once; of too many the oldest not any more. */
  asked(id: unknown): void {
    const key = idKey(id)
    if (key.length <= MAX_ASKED_KEY_CHARS) this.#asked.add(key)
    for (const oldest of this.#asked) {
      if (this.#asked.size <= MAX_OPEN) break
      this.#asked.delete(oldest)
    }
  }

  /** Whether the server waits for a response with this raw id; it does so only once. */
  takeAsked(id: string | undefined): boolean {
    return this.#asked.delete(keyOfRaw(id))
  }

  touch(now: number, caller?: Caller): void {
    this.#usedAt = now
    if (caller) this.#seen.caller = caller
  }

  /** Milliseconds without any use; 0 while a client waits for an answer or listens, or something waits for it. */
  idleMs(now: number): number {
    if (this.upstream.isWaiting === true) return 0
    // A client that went away cancels nothing, and may come back for its answer: but not for longer than a session may be unused.
    if (this.#outlets.find(({ isGone }) => !isGone)) this.#usedAt = now
    return now - this.#usedAt
  }

  attach(outlet: Outlet): void {
    this.#outlets.add(outlet)
  }

  detach(outlet: Outlet, now: number): void {
    this.#outlets.delete(outlet)
    this.#usedAt = now
  }

  /** What is kept for a client that comes back; undefined where its revision has no such thing. */
  get replay(): SessionReplay | undefined {
    if (REVISIONS[this.#revision ?? '']?.resumes && !this.#ending.signal.aborted) this.#replay ??= this.#replays.open()
    return this.#replay
  }

  /** Begins to keep the stream of events that an outlet has become, where a client may come back for it. */
  keepStream(outlet: Outlet, isShared = false): ReplayStream | undefined {
    if (outlet.kept) return outlet.kept
    const stream = outlet.isWhole ? this.replay?.stream(outlet, this.primes, isShared) : undefined
    if (stream) outlet.keepIn(stream)
    return stream
  }

  /** Whether the client understands events without data. */
  get primes(): boolean {
    return REVISIONS[this.#revision ?? '']?.primes === true
  }

  /** Whether an event id is of this gateway, be it of another session: it is not for the MCP server. */
  isOurEvent(id: string): boolean {
    return this.#replays.isOurs(id)
  }

  /** Forgets what is too old to come back for, and gives clients that wait in silence something to come back with. */
  sweep(): void {
    this.#replay?.sweep()
    if (!this.primes) return
    for (const outlet of this.#outlets.list()) {
      if (!outlet.sweep()) continue
      outlet.open('events')
      void this.keepStream(outlet)?.prime()
    }
  }

  keepAlive(): void {
    for (const outlet of this.#outlets.list()) outlet.keepAlive()
  }

  /** A new listener takes over from the one before; it ends with the conversation. */
  takeListening(): AbortController {
    this.#listening?.abort()
    this.#listening = new AbortController()
    return this.#listening
  }

  /** @throws what ended it. */
  assertOpen(): void {
    if (this.#ending.signal.aborted) throw this.why
  }

  /** What a client is told that still has a request here after the end. */
  get why(): AppError {
    return this.#why ?? new AppError('not_found', 'the MCP session has ended: initialize again', { details: { rpc: -32001 } })
  }

  /**
   * Ends it; with an error when it is not the client that wanted it. Safe to call twice. Resolves when the upstream's side is gone, which
   * an audit journal that takes nothing must not prevent.
   */
  async end(now: number, why?: AppError): Promise<void> {
    const recorded = this.#ending.signal.aborted ? undefined : this.#stop(now, why)
    for (const settled of await Promise.allSettled([recorded, this.upstream.close()]))
      if (settled.status === 'rejected') throw settled.reason
  }

  /** All of it happens at once, only its records are waited for. */
  async #stop(now: number, why: AppError | undefined): Promise<void> {
    this.#why = why
    this.touch(now)
    this.#ending.abort()
    this.#listening?.abort()
    for (const outlet of this.#outlets.list()) outlet.release()
    const records = this.#running.list().map((request) => {
      const isEnd = isFarewell(why) && findMethod(request.message.method)?.endless
      const recorded = isEnd ? request.conclude() : request.interrupt(why?.message ?? 'the MCP session ended', why?.origin)
      request.abort()
      return recorded
    })
    this.#replay?.close()
    records.push(this.recorder.sessionEnd(why?.message))
    await Promise.all(records)
  }
}

/** Whether what ends a conversation is nothing that the caller, or the server, has done. */
function isFarewell(why: AppError | undefined): boolean {
  return why === undefined || (why.origin === 'gateway' && why.code !== 'permission_denied' && why.code !== 'unauthenticated')
}

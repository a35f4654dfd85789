import { AppError, toAppError } from '../../lib/errors.ts'
import { keyOfRaw, idKey } from '../conversation.ts'
import type { Outlet } from '../outlet.ts'
import type { Channel, Forwarded } from './channel.ts'
import type { MemberReply } from './member-exchange.ts'
import { end, openPeer, type Opening, type Peer, post } from './peer.ts'
import { Questions } from './questions.ts'
import type { SessionStream } from './session-stream.ts'
import { Subscriptions } from './subscriptions.ts'
import { within } from './timers.ts'
import type { Member, View } from './view.ts'
import type { SessionOptions } from './session-options.ts'

/** A request of the client that a member has not answered. */
export interface Running {
  server: string
  method: string
  abort: (why: AppError) => void
}

/** For a member to end a session, or to take what a new one needs. */
const SETTLE_MS = 2000
/** For a member to take a notification or a response. */
const TELL_MS = 30_000
const MAX_RUNNING = 1000
const MAX_TASKS = 1000
/** Characters of an id that is kept. */
const MAX_ID = 1024

/**
 * What a client of the legacy revisions has here: a session of its own with each member that it came to need, opened with its own
 * `initialize`. It ends once, for everybody.
 */
export class Session implements Channel {
  readonly id: string
  readonly era = 'legacy'
  readonly owner: string
  readonly clientName: string | undefined
  readonly revision: string
  readonly meta = undefined
  readonly questions = new Questions()
  readonly subscriptions = new Subscriptions()
  /** The client's last request tells what it may see now. */
  view: View
  /** The stream of messages that belong to no request. */
  stream: SessionStream | undefined
  /** JSON text of the level of the last `logging/setLevel`. */
  level: string | undefined
  readonly #options: SessionOptions
  readonly #opening: Opening
  /** Opened, or being opened. As those below it is made for the first: an idle session has none. */
  #peers: Map<string, Promise<Peer>> | undefined
  #opened: Map<string, Peer> | undefined
  #running: Map<string, Running> | undefined
  /** Tasks that the client runs for members, by the client's own ids. */
  #clientTasks: Map<string, string> | undefined
  readonly #outlets = new Set<Outlet>()
  readonly #ending = new AbortController()
  readonly #prefix: string
  #asked = 0
  #usedAt: number
  #expiresAt: number
  #why: AppError | undefined

  constructor(options: SessionOptions, view: View, opening: Opening, facts: { revision: string; clientName: string | undefined }) {
    this.#options = options
    this.#opening = opening
    this.id = options.ids.token(24)
    this.#prefix = options.ids.token(9)
    this.owner = view.owner
    this.view = view
    this.revision = facts.revision
    this.clientName = facts.clientName
    this.#usedAt = options.now()
    this.#expiresAt = view.expiresAt
  }

  get scope(): string {
    return this.id
  }

  get signal(): AbortSignal {
    return this.#ending.signal
  }

  /** What a client is told that still has a request here after the end. */
  get why(): AppError {
    return this.#why ?? new AppError('not_found', 'the MCP session has ended: initialize again', { details: { rpc: -32001 } })
  }

  /** Another request of the client: with a credential that lasts longer, the session does too. */
  use(view: View): void {
    this.view = view
    this.#expiresAt = Math.max(this.#expiresAt, view.expiresAt)
    this.#usedAt = this.#options.now()
  }

  get expiresAt(): number {
    return this.#expiresAt
  }

  nextId(): string {
    return JSON.stringify(`${this.#prefix}-${++this.#asked}`)
  }

  async lacks(member: Member, capability: string): Promise<boolean> {
    const { offers } = await this.#peerOf(member)
    return offers?.has(capability) === false
  }

  /** Sends a message on the member's session; one that the member no longer knows is opened anew, once. */
  async send(member: Member, message: Forwarded, signal: AbortSignal): Promise<MemberReply> {
    const peer = await this.#peerOf(member)
    peer.member = member
    const reply = await post(peer, message.bytes, signal)
    if (reply.status !== 404) return reply
    reply.discard()
    this.#drop(peer)
    return post(await this.#peerOf(member), message.bytes, signal)
  }

  /** Sends a message to one member if it has a session, or to each that has; answers are of no interest. */
  async tell(bytes: Buffer, server?: string): Promise<void> {
    const told = this.peers().filter(({ member }) => server === undefined || member.name === server)
    await Promise.all(told.map((peer) => this.#tellOne(peer, bytes, TELL_MS)))
  }

  /** Whether the member has a session now. */
  has(server: string): boolean {
    return this.#opened?.has(server) ?? false
  }

  /** Members with a session now. */
  peers(): Peer[] {
    return [...(this.#opened?.values() ?? [])]
  }

  async #tellOne(peer: Peer, bytes: Buffer, ms: number): Promise<void> {
    try {
      await within(this.#options.timers, ms, this.signal, async (signal) => (await post(peer, bytes, signal)).discard())
    } catch (thrown) {
      this.#options.log.debug('a member could not be told', { error: toAppError(thrown).message })
    }
  }

  #peerOf(member: Member): Promise<Peer> {
    if (this.signal.aborted) return Promise.reject(this.why)
    const peers = (this.#peers ??= new Map<string, Promise<Peer>>())
    const known = peers.get(member.name)
    if (known) return known
    const opening = this.#open(member)
    peers.set(member.name, opening)
    opening.catch(() => {
      if (peers.get(member.name) === opening) peers.delete(member.name)
    })
    return opening
  }

  async #open(member: Member): Promise<Peer> {
    const { timers, limits, health, onOpened } = this.#options
    try {
      const peer = await within(timers, limits.openMs, this.signal, (signal) => openPeer(member, this.#opening, this.nextId(), signal))
      health.note(member.name, 'initialize', undefined)
      onOpened(this.owner, peer)
      this.#opened ??= new Map()
      this.#opened.set(member.name, peer)
      await this.#restore(peer)
      this.stream?.attach(peer)
      return peer
    } catch (thrown) {
      const error = toAppError(thrown)
      const status = error.details?.['status']
      if (status !== 401 && status !== 403 && error.code !== 'cancelled')
        health.note(member.name, 'initialize', `initialize failed: ${error.message}`)
      throw error
    }
  }

  /** What the client has asked of all members, and of this one before its session was lost. */
  async #restore(peer: Peer): Promise<void> {
    const messages = this.subscriptions.of(peer.member.name).map((uri) => this.#request('resources/subscribe', JSON.stringify({ uri })))
    if (this.level !== undefined && peer.offers?.has('logging') === true) messages.push(this.levelMessage(this.level))
    const sent = messages.map((bytes) => this.#tellOne(peer, bytes, SETTLE_MS))
    await Promise.all(sent)
  }

  levelMessage(level: string): Buffer {
    return this.#request('logging/setLevel', `{"level":${level}}`)
  }

  #request(method: string, params: string): Buffer {
    return Buffer.from(`{"jsonrpc":"2.0","id":${this.nextId()},"method":${JSON.stringify(method)},"params":${params}}`)
  }

  #drop(peer: Peer): void {
    const { name } = peer.member
    // Several requests may find out at the same time.
    if (this.#opened?.get(name) !== peer) return
    this.#opened.delete(name)
    this.#peers?.delete(name)
    this.questions.forget(name)
    this.stream?.detach(name)
    void this.#endPeer(Promise.resolve(peer))
  }

  async #endPeer(opening: Promise<Peer>): Promise<void> {
    const { timers, log } = this.#options
    try {
      const peer = await opening
      await within(timers, SETTLE_MS, undefined, (signal) => end(peer, signal))
    } catch (thrown) {
      log.debug('a session of a member did not end cleanly', { error: toAppError(thrown).message })
    }
  }

  /** @throws AppError resource_exhausted for too many requests at a time, invalid_argument for an id that another request of the session has. */
  begin(id: string | undefined, running: Running): void {
    const all = (this.#running ??= new Map<string, Running>())
    if (all.size >= MAX_RUNNING)
      throw new AppError('resource_exhausted', `${MAX_RUNNING} requests of this MCP session have no answer yet: wait, or cancel some`)
    if (id !== undefined && id.length > MAX_ID)
      throw new AppError('invalid_argument', `a request id may have ${MAX_ID} characters`, { details: { rpc: -32600 } })
    const key = keyOfRaw(id)
    if (all.has(key))
      throw new AppError('invalid_argument', 'the request id is in use in this MCP session: use another', { details: { rpc: -32600 } })
    all.set(key, running)
  }

  finish(id: string | undefined): void {
    this.#running?.delete(keyOfRaw(id))
  }

  findRunning(id: unknown): Running | undefined {
    return this.#running?.get(idKey(id))
  }

  /** The method of the request that a response of this member answers, which is then over. */
  answered(server: string, id: unknown): string | undefined {
    const running = this.findRunning(id)
    if (running?.server !== server) return undefined
    this.#running?.delete(idKey(id))
    return running.method
  }

  /** The client began a task for a member. */
  clientTask(id: string, server: string): void {
    if (id.length > MAX_ID) return
    const tasks = (this.#clientTasks ??= new Map<string, string>())
    tasks.set(id, server)
    const [oldest] = tasks.keys()
    if (tasks.size > MAX_TASKS && oldest !== undefined) tasks.delete(oldest)
  }

  findClientTask(id: unknown): string | undefined {
    return typeof id === 'string' ? this.#clientTasks?.get(id) : undefined
  }

  attach(outlet: Outlet): void {
    this.#outlets.add(outlet)
  }

  detach(outlet: Outlet): void {
    this.#outlets.delete(outlet)
    this.#usedAt = this.#options.now()
  }

  /** Milliseconds without any use; 0 while a stream is open or a request under way. */
  idleMs(now: number): number {
    return this.#outlets.size > 0 ? 0 : now - this.#usedAt
  }

  keepAlive(): void {
    for (const outlet of this.#outlets) outlet.keepAlive()
  }

  /** Ends the sessions of members that the client may not use any more. @throws as `View.members` */
  async membersChanged(): Promise<void> {
    const names = new Set((await this.view.members()).map(({ name }) => name))
    for (const peer of this.peers()) if (!names.has(peer.member.name)) this.#drop(peer)
  }

  /** Ends it; with an error when it is not the client that wanted it. Safe to call twice. Resolves when the members have been told. */
  async end(why?: AppError): Promise<void> {
    if (this.signal.aborted) return
    this.#why = why
    this.#ending.abort()
    for (const outlet of this.#outlets) outlet.release()
    this.stream?.close(this.why.message)
    for (const running of this.#running?.values() ?? []) running.abort(this.why)
    await Promise.all([...(this.#peers?.values() ?? [])].map((opening) => this.#endPeer(opening)))
  }
}

import { AppError, toAppError } from '../../lib/errors.ts'
import { Roster } from '../../lib/roster.ts'
import type { Outlet } from '../outlet.ts'
import type { Channel, Forwarded } from './channel.ts'
import type { MemberReply } from './member-exchange.ts'
import { ClientTasks } from './client-tasks.ts'
import { end, openPeer, type Opening, type Peer, post } from './peer.ts'
import { Questions } from './questions.ts'
import { RunningRequests } from './running-requests.ts'
import { SessionStreams } from './session-streams.ts'
import { Subscriptions } from './subscriptions.ts'
import { within } from './waiting.ts'
import type { Member, View } from './view.ts'
import type { SessionOptions } from './session-options.ts'

/** For a member to end a session, or to take what a new one needs. */
const SETTLE_MS = 2000
/** For a member to take a notification or a response. */
const TELL_MS = 30_000
const SET_LEVEL = 'logging/setLevel'

export interface SessionFacts {
  revision: string
  clientName: string | undefined
  /** Of one that began in another process. */
  id?: string
}

/**
 * What a client of the legacy revisions has here: a session of its own with each member that it came to need, opened with its own
 * `initialize`. It ends once, for everybody.
 */
export class Session implements Channel {
  readonly id: string
  readonly era = 'legacy'
  /** As the client knows it: to the letter, or it is another. */
  shownId: string
  readonly owner: string
  readonly clientName: string | undefined
  readonly revision: string
  readonly meta = undefined
  readonly questions: Questions
  readonly subscriptions = new Subscriptions()
  /** The client's last request tells what it may see now. */
  view: View
  /** For messages that belong to no request. */
  readonly streams = new SessionStreams()
  /** Another process has it too. */
  isShared = false
  /** JSON text of that of the last `logging/setLevel`. */
  level: string | undefined
  readonly #options: SessionOptions
  readonly #opening: Opening
  /** Opened, or being opened. As those below it is made for the first: an idle session has none. */
  #peers: Map<string, Promise<Peer>> | undefined
  #opened: Map<string, Peer> | undefined
  #running: RunningRequests | undefined
  /** Sessions of members that we end. */
  #leaving: WeakSet<Peer> | undefined
  #clientTasks: ClientTasks | undefined
  readonly #outlets = new Roster<Outlet>()
  readonly #ending = new AbortController()
  readonly #prefix: string
  #asked = 0
  #usedAt: number
  #expiresAt: number
  #why: AppError | undefined

  constructor(options: SessionOptions, view: View, opening: Opening, facts: SessionFacts) {
    this.#options = options
    this.#opening = opening
    this.id = facts.id ?? options.ids.token(24)
    this.shownId = this.id
    this.#prefix = options.ids.token(9)
    this.questions = new Questions(options.isShared ? this.#prefix : undefined)
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

  /**
   * Sends a message on the member's session; one that the member no longer knows is opened anew, once. Not one that we ended ourselves: what
   * ran in it may have taken effect.
   */
  async send(member: Member, message: Forwarded, signal: AbortSignal): Promise<MemberReply> {
    const peer = await this.#peerOf(member)
    peer.member = member
    const reply = await post(peer, message.bytes, signal)
    if (reply.status !== 404 || this.#leaving?.has(peer)) return reply
    reply.discard()
    this.#lose(peer)
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
      health.note(this.owner, member.name, 'initialize', undefined)
      onOpened(this.owner, peer)
      this.#opened ??= new Map()
      this.#opened.set(member.name, peer)
      await this.#restore(peer)
      this.streams.current?.attach(peer)
      return peer
    } catch (thrown) {
      const error = toAppError(thrown)
      const status = error.details?.['status']
      if (status !== 401 && status !== 403 && error.code !== 'cancelled')
        health.note(this.owner, member.name, 'initialize', `initialize failed: ${error.message}`)
      throw error
    }
  }

  /** What the client has asked of all members, and of this one before its session was lost. */
  async #restore(peer: Peer): Promise<void> {
    const messages = this.subscriptions.of(peer.member.name).map((uri) => this.request('resources/subscribe', JSON.stringify({ uri })))
    if (this.level !== undefined && peer.offers?.has('logging') === true) messages.push(this.request(SET_LEVEL, `{"level":${this.level}}`))
    const sent = messages.map((bytes) => this.#tellOne(peer, bytes, SETTLE_MS))
    await Promise.all(sent)
  }

  /** @param level JSON text. */
  async setLevel(level: string): Promise<void> {
    this.level = level
    const willing = this.peers().filter(({ offers }) => offers?.has('logging') === true)
    await Promise.all(willing.map((peer) => this.#tellOne(peer, this.request(SET_LEVEL, `{"level":${level}}`), TELL_MS)))
  }

  /** Opens the sessions of members without which a stream would not tell what the client subscribed to. */
  reachSubscribed(): void {
    const servers = this.subscriptions.servers().filter((server) => !this.#peers?.has(server))
    if (servers.length === 0) return
    const reach = async (): Promise<void> => {
      const members = (await this.view.members()).filter(({ name }) => servers.includes(name))
      await Promise.all(members.map((member) => this.#peerOf(member)))
    }
    reach().catch((thrown: unknown) => this.#options.log.debug('a subscription rests', { error: toAppError(thrown).message }))
  }

  /** A request of ours; `params` is JSON text. */
  request(method: string, params: string): Buffer {
    return Buffer.from(`{"jsonrpc":"2.0","id":${this.nextId()},"method":${JSON.stringify(method)},"params":${params}}`)
  }

  /** The member does not know it, or said so to one request while others run in it: it is not told to end it. */
  #lose(peer: Peer): boolean {
    const { name } = peer.member
    // Several requests may find out at the same time.
    if (this.#opened?.get(name) !== peer) return false
    this.#opened.delete(name)
    this.#peers?.delete(name)
    this.questions.forget(name)
    this.#running?.lost(name)
    this.streams.current?.detach(name)
    return true
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

  /** Of the client, by its ids. */
  get running(): RunningRequests {
    return (this.#running ??= new RunningRequests())
  }

  /** That the client runs for members, by its own ids. */
  get clientTasks(): ClientTasks {
    return (this.#clientTasks ??= new ClientTasks())
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
    for (const outlet of this.#outlets.list()) outlet.keepAlive()
  }

  /** Ends the sessions of members that the client may not use any more. @throws as `View.members` */
  async membersChanged(): Promise<void> {
    const names = new Set((await this.view.members()).map(({ name }) => name))
    for (const [name, opening] of this.#peers ?? []) {
      if (names.has(name)) continue
      // One that is being opened goes when it is open.
      opening.then(
        (peer) => this.#dismiss(peer),
        () => undefined, // told to whoever wanted it
      )
    }
  }

  #dismiss(peer: Peer): void {
    if (!this.#lose(peer)) return
    ;(this.#leaving ??= new WeakSet<Peer>()).add(peer)
    void this.#endPeer(Promise.resolve(peer))
  }

  /** Ends it; with an error when it is not the client that wanted it. Safe to call twice. Resolves when the members have been told. */
  async end(why?: AppError): Promise<void> {
    if (this.signal.aborted) return
    this.#why = why
    this.#ending.abort()
    for (const outlet of this.#outlets.list()) outlet.release()
    this.streams.close(this.why.message)
    this.#running?.abortAll(this.why)
    await Promise.all([...(this.#peers?.values() ?? [])].map((opening) => this.#endPeer(opening)))
  }
}

import { AppError } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import type { App } from '../resources/app.ts'
import type { Identity } from '../resources/identity.ts'
import { ByOwner } from './by-owner.ts'
import { type Caller, ownerOf } from './caller.ts'
import { Conversation } from './conversation.ts'
import { type AuditOptions, Recorder } from './recorder.ts'
import { Replays } from './replay.ts'
import { Rounds, untilCommonStep } from './rounds.ts'
import type { OwnHeaders } from './upstream/own-headers.ts'
import type { CallerWords, Upstream } from './upstream/upstream.ts'

export interface ConversationLimits {
  /** Conversations of one caller with one server; the longest idle makes room for a new one. */
  perCaller: number
  /** All conversations with one server. */
  total: number
  /** Unused for that long, a conversation ends. */
  idleMs: number
  /** Within so long every open stream is written to once. */
  keepAliveMs: number
}

const DEFAULT_LIMITS: ConversationLimits = { perCaller: 64, total: 20_000, idleMs: 5 * 60_000, keepAliveMs: 15_000 }
/** Between two steps of a sweep of many conversations. */
const STEP_MS = 100
/** Up to so many are looked at less often, and with those of all other servers at once: of these there may be a thousand with one each. */
const FEW = 4
const FEW_STEP_MS = 500
/** How late the end of a credential may be noticed. */
const CHECK_MS = 1000
/** Between a change and the word of it, and between the words to so many. */
const TELL_MS = 100
const MAX_TOLD = 500

interface Options {
  app: App
  upstream: Upstream
  audit: AuditOptions
  ownHeaders(caller: () => Caller): OwnHeaders
  words?: ((caller: () => Caller) => CallerWords | undefined) | undefined
  log: Logger
  limits?: Partial<ConversationLimits>
  sessionId?: (() => string) | undefined
}

/** All conversations with one MCP server: who may use which, how many there are, and when they end. */
export class Conversations {
  readonly #options: Options
  readonly #limits: ConversationLimits
  readonly #open = new Map<string, Conversation>()
  readonly #byOwner = new ByOwner<Conversation>()
  /** Being opened: several modern requests of one caller that come at once share one. */
  readonly #opening = new Map<string, Promise<Conversation>>()
  /** Conversations being opened, by owner: they count as much as open ones. */
  readonly #reserved = new Map<string, number>()
  readonly #replays: Replays
  /** The sum of these. */
  #reservedTotal = 0
  readonly #checks: Rounds<Conversation>
  readonly #keepAlives: Rounds<Conversation>
  /** Runs while there is a conversation: there may be a thousand servers that nobody uses. */
  #timer: NodeJS.Timeout | undefined
  #closed: AppError | undefined
  /** To be told that their access changed. */
  readonly #changed = new Set<Conversation>()
  #telling: NodeJS.Timeout | undefined

  constructor(options: Options) {
    this.#options = options
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits }
    this.#replays = new Replays({ now: options.audit.now, token: options.audit.ids.token })
    const now = options.audit.now()
    this.#checks = new Rounds(this.#open, CHECK_MS, now)
    this.#keepAlives = new Rounds(this.#open, this.#limits.keepAliveMs, now)
  }

  get isBusy(): boolean {
    return this.#opening.size > 0 || this.#open.values().some((conversation) => conversation.isBusy)
  }

  /** The session of this id, if it is the caller's: another's is as unknown as one that never was (404, Streamable HTTP). */
  get(id: string | undefined, caller: Caller): Conversation {
    if (id === undefined)
      throw new AppError('invalid_argument', 'Mcp-Session-Id is required: initialize first', { details: { rpc: -32600 } })
    const conversation = this.#open.get(id)
    if (!conversation || conversation.owner !== ownerOf(caller.identity) || conversation.era !== 'legacy') {
      // One of somebody else's is no session of the caller's that has ended.
      throw new AppError('not_found', 'unknown MCP session: initialize again', { details: { rpc: -32001, outdated: !conversation } })
    }
    conversation.assertOpen()
    conversation.touch(this.#options.audit.now(), caller)
    return conversation
  }

  /** A new session for a legacy client. */
  async open(caller: Caller, remoteAddress: string): Promise<Conversation> {
    const { sessionId = () => this.#options.audit.ids.token(24) } = this.#options
    return this.#create(sessionId(), 'legacy', caller, remoteAddress)
  }

  /** The running conversation of a modern client's credential, made on its first request. */
  async shared(caller: Caller, remoteAddress: string, facts: { revision: string; clientInfo: string | undefined }): Promise<Conversation> {
    const { identity } = caller
    // Roles and traits are part of it: headers made of them go with every request of a conversation.
    const key = JSON.stringify([ownerOf(identity), identity.credentialId, identity.roles, identity.traits])
    const existing = this.#open.get(key)
    if (existing) {
      existing.touch(this.#options.audit.now(), caller)
      return existing
    }
    const opening = this.#opening.get(key) ?? this.#openShared(key, caller, remoteAddress, facts)
    this.#opening.set(key, opening)
    try {
      return await opening
    } finally {
      this.#opening.delete(key)
    }
  }

  async #openShared(
    key: string,
    caller: Caller,
    remoteAddress: string,
    facts: { revision: string; clientInfo: string | undefined },
  ): Promise<Conversation> {
    const conversation = await this.#create(key, 'modern', caller, remoteAddress)
    conversation.negotiated(facts.revision)
    await conversation.recorder.sessionStart({
      protocol_version: facts.revision,
      ...(facts.clientInfo !== undefined && { client_info: facts.clientInfo }),
    })
    return conversation
  }

  async #create(id: string, era: 'legacy' | 'modern', caller: Caller, remoteAddress: string): Promise<Conversation> {
    const owner = ownerOf(caller.identity)
    const release = this.#reserve(owner)
    try {
      await this.#makeRoom(owner)
      return await this.#connect(id, era, caller, remoteAddress)
    } finally {
      release()
    }
  }

  async #connect(id: string, era: 'legacy' | 'modern', caller: Caller, remoteAddress: string): Promise<Conversation> {
    const { app, upstream, audit } = this.#options
    const { identity } = caller
    const { name, kind, roles } = identity
    const seen = { caller }
    const headers = this.#options.ownHeaders(() => seen.caller)
    const words = this.#options.words?.(() => seen.caller)
    const sid = audit.ids.uuidv7()
    const session = await upstream.open({ era, headers, words, caller: { name, kind, roles }, session: { identity, sid, remoteAddress } })
    // Starting a program takes a while: whoever was locked out meanwhile was not there yet to be cut off.
    const refusal = this.#closed ?? leaving(caller)
    if (refusal) {
      await session.close()
      throw refusal
    }
    const recorder = new Recorder(audit, sid, app, identity, remoteAddress)
    const conversation = new Conversation({
      id,
      era,
      seen,
      owner: ownerOf(identity),
      upstream: session,
      recorder,
      replays: this.#replays,
      openedAt: audit.now(),
    })
    this.#open.set(id, conversation)
    this.#byOwner.add(conversation)
    this.#timer ??= this.#sweepLater()
    void session.ended.then((reason) => this.#endLogged(conversation, new AppError('unavailable', reason, { origin: 'upstream' })))
    return conversation
  }

  #reserve(owner: string): () => void {
    if (this.#closed) throw this.#closed
    const count = (step: number): void => {
      const left = (this.#reserved.get(owner) ?? 0) + step
      this.#reservedTotal += step
      if (left > 0) this.#reserved.set(owner, left)
      else this.#reserved.delete(owner)
    }
    count(1)
    return () => count(-1)
  }

  /** The reservation of the one who asks is counted already. */
  async #makeRoom(owner: string): Promise<void> {
    const isFull = this.#open.size + this.#reservedTotal > this.#limits.total
    const mine = this.#byOwner.countOf(owner) + (this.#reserved.get(owner) ?? 0)
    if (mine <= this.#limits.perCaller && !isFull) return
    const now = this.#options.audit.now()
    const [idlest] = this.#byOwner
      .of(owner)
      .filter((one) => one.idleMs(now) > 0)
      .toSorted((a, b) => b.idleMs(now) - a.idleMs(now))
    if (!idlest) throw new AppError('resource_exhausted', `too many MCP sessions with "${this.#options.app.metadata.name}": end one first`)
    await this.end(idlest, new AppError('resource_exhausted', 'the MCP session ended to make room for a newer one'))
  }

  async end(conversation: Conversation, why?: AppError): Promise<void> {
    this.#forget(conversation)
    await conversation.end(this.#options.audit.now(), why)
  }

  cut(reasonFor: (identity: Identity) => string | undefined): void {
    for (const conversation of this.#open.values()) {
      const reason = reasonFor(conversation.identity)
      if (reason !== undefined) this.#endLogged(conversation, cutOff(reason))
    }
  }

  /** Tells clients, a little later, since changes come together; a few at a time, since they all ask then. */
  accessChanged(concerns: (identity: Identity) => boolean): void {
    for (const conversation of this.#open.values()) if (concerns(conversation.caller.identity)) this.#changed.add(conversation)
    this.#tellSoon()
  }

  #tellSoon(): void {
    if (this.#telling || this.#changed.size === 0) return
    this.#telling = setTimeout(() => {
      this.#telling = undefined
      for (const conversation of this.#changed.values().take(MAX_TOLD)) {
        this.#changed.delete(conversation)
        conversation.accessChanged()
      }
      this.#tellSoon()
    }, TELL_MS).unref()
  }

  /** Ends what has been idle too long or whose credential has expired, and keeps streams alive and replayable: a few at a time. */
  sweep(): void {
    const now = this.#options.audit.now()
    this.#checks.step(now, (conversation) => {
      if (conversation.identity.expiresAt <= now) this.#endLogged(conversation, expired())
      else if (conversation.idleMs(now) > this.#limits.idleMs) this.#endLogged(conversation, undefined)
      else conversation.sweep()
    })
    this.#keepAlives.step(now, (conversation) => conversation.keepAlive())
  }

  #sweepLater(): NodeJS.Timeout {
    const step = (): void => {
      this.#timer = undefined
      this.sweep()
      if (this.#open.size > 0) this.#timer ??= this.#sweepLater()
    }
    return setTimeout(step, this.#open.size > FEW ? STEP_MS : untilCommonStep(FEW_STEP_MS, this.#options.audit.now())).unref()
  }

  /** A modern one may have a successor under its id already. */
  #forget(conversation: Conversation): void {
    if (this.#open.get(conversation.id) === conversation) this.#open.delete(conversation.id)
    this.#byOwner.delete(conversation)
    this.#changed.delete(conversation)
    if (this.#open.size > 0) return
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** Ends one whose opening failed. */
  discard(conversation: Conversation): void {
    this.#endLogged(conversation, undefined)
  }

  #endLogged(conversation: Conversation, why: AppError | undefined): void {
    this.end(conversation, why).catch((error: unknown) =>
      this.#options.log.warn('an MCP session did not end cleanly', { error: String(error) }),
    )
  }

  async close(why?: AppError): Promise<void> {
    this.#closed = why ?? new AppError('unavailable', `MCP server "${this.#options.app.metadata.name}" is no longer served here`)
    await Promise.allSettled(this.#opening.values())
    await Promise.all([...this.#open.values()].map((conversation) => this.end(conversation, why)))
  }
}

function leaving(caller: Caller): AppError | undefined {
  const reason = caller.reasonToLeave()
  return reason === undefined ? undefined : cutOff(reason)
}

function cutOff(reason: string): AppError {
  return new AppError('permission_denied', reason, { details: { rpc: -32603 } })
}

function expired(): AppError {
  return new AppError('unauthenticated', 'the credential that opened this MCP session has expired: sign in again')
}

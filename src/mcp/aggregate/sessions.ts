import { AppError } from '../../lib/errors.ts'
import { ByOwner } from '../by-owner.ts'
import { Rounds } from '../rounds.ts'
import type { Opening } from './peer.ts'
import { Session, type SessionFacts } from './session.ts'
import type { SessionOptions } from './session-options.ts'
import type { View } from './view.ts'

/** How late the end of a credential may be noticed. */
const CHECK_MS = 1000
const MAX_ENDED = 10_000

/** All sessions of legacy clients: who may use which, how many there are, and when they end. */
export class Sessions {
  readonly #options: SessionOptions
  readonly #open = new Map<string, Session>()
  readonly #byOwner = new ByOwner<Session>()
  readonly #checks: Rounds<Session>
  readonly #keepAlives: Rounds<Session>
  /** Ids of the last ones that ended here: they do not begin again. */
  readonly #ended = new Set<string>()

  constructor(options: SessionOptions) {
    this.#options = options
    this.#checks = new Rounds(this.#open, CHECK_MS, options.now())
    this.#keepAlives = new Rounds(this.#open, options.limits.keepAliveMs, options.now())
  }

  /** The session of this id, if it is the caller's: another's is as unknown as one that never was (404, Streamable HTTP). */
  get(id: string | undefined, view: View): Session {
    if (id === undefined)
      throw new AppError('invalid_argument', 'Mcp-Session-Id is required: initialize first', { details: { rpc: -32600 } })
    const session = this.#open.get(id)
    if (session?.owner !== view.owner) throw unknownSession()
    session.use(view)
    return session
  }

  /** Whoever's it is; undefined for one that is not open here. */
  find(id: string): Session | undefined {
    return this.#open.get(id)
  }

  /** Whether an id was never heard of here: the session may be one of another process. */
  isStrange(id: string): boolean {
    return !this.#open.has(id) && !this.#ended.has(id)
  }

  /** A new session. @throws AppError resource_exhausted when there are too many and none is idle. */
  open(view: View, opening: Opening, facts: SessionFacts): Session {
    this.#makeRoom(view.owner)
    const session = new Session(this.#options, view, opening, facts)
    this.#open.set(session.id, session)
    this.#byOwner.add(session)
    return session
  }

  of(owner: string | undefined): Session[] {
    return owner === undefined ? [...this.#open.values()] : this.#byOwner.of(owner)
  }

  /** @param isIdle it is for want of use, of which it may have some elsewhere: then it may begin again. */
  async end(session: Session, why?: AppError, isIdle = false): Promise<void> {
    this.#open.delete(session.id)
    if (!isIdle || !session.isShared) this.#ended.add(session.id)
    const [oldest] = this.#ended
    if (this.#ended.size > MAX_ENDED && oldest !== undefined) this.#ended.delete(oldest)
    this.#byOwner.delete(session)
    await session.end(why)
  }

  cut(reasonFor: (owner: string) => string | undefined): void {
    for (const session of this.#open.values()) {
      const reason = reasonFor(session.owner) ?? session.view.reasonToLeave()
      if (reason !== undefined) void this.end(session, cutOff(reason))
    }
  }

  /** Ends what may not stay or has been idle too long, and keeps streams alive: a few at a time. */
  sweep(): void {
    const now = this.#options.now()
    this.#checks.step(now, (session) => {
      const reason = session.view.reasonToLeave()
      if (reason !== undefined) void this.end(session, cutOff(reason))
      else if (session.expiresAt <= now) void this.end(session, expired())
      else if (session.idleMs(now) > this.#options.limits.idleMs) void this.end(session, undefined, true)
    })
    this.#keepAlives.step(now, (session) => session.keepAlive())
  }

  async close(why: AppError): Promise<void> {
    await Promise.all(this.of(undefined).map((session) => this.end(session, why)))
  }

  #makeRoom(owner: string): void {
    const { limits, now } = this.#options
    if (this.#byOwner.countOf(owner) < limits.sessionsPerOwner && this.#open.size < limits.sessions) return
    const idlest = this.#byOwner
      .of(owner)
      .filter((one) => one.idleMs(now()) > 0)
      .toSorted((a, b) => b.idleMs(now()) - a.idleMs(now()))[0]
    if (!idlest) throw new AppError('resource_exhausted', 'too many MCP sessions: end one first')
    void this.end(idlest, new AppError('resource_exhausted', 'the MCP session ended to make room for a newer one'))
  }
}

/** Streamable HTTP: 404. */
export function unknownSession(): AppError {
  return new AppError('not_found', 'unknown MCP session: initialize again', { details: { rpc: -32001 } })
}

function cutOff(reason: string): AppError {
  return new AppError('permission_denied', reason, { details: { rpc: -32603 } })
}

function expired(): AppError {
  return new AppError('unauthenticated', 'the credential of this MCP session has expired: sign in again')
}

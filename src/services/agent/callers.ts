import { checkDatabase, databasePatterns, type DatabaseSession } from '../../access/check-database.ts'
import { type AccessFacts, type ServerAccess, serverAccess } from '../../access/check.ts'
import type { Decision } from '../../access/decision.ts'
import { findLock, lockReason } from '../../access/locks.ts'
import { compileRoles, type RoleSet } from '../../access/role-set.ts'
import { serverViewOf } from '../../access/server-view.ts'
import { findKeyId, type VerificationKey, verifyAssertion } from '../../ca/assertion.ts'
import { AppError } from '../../lib/errors.ts'
import type { Caller } from '../../mcp/caller.ts'
import type { App } from '../../resources/app.ts'
import { botNameOf, botUserName } from '../../resources/bot.ts'
import { CLUSTER_AUTH_PREFERENCE } from '../../resources/cluster-auth-preference.ts'
import type { Change, ResourceFeed } from '../../resources/feed.ts'
import type { Identity } from '../../resources/identity.ts'
import type { Lock } from '../../resources/lock.ts'
import { requiresSessionMfa } from '../../resources/session-mfa.ts'

const MAX_CALLERS = 10_000
/** After a gap an agent is told what was revoked meanwhile, which may be an hour ago (`best_effort`); the rest is for clocks. */
const MARK_MS = 61 * 60_000
const MAX_MARKS = 100_000
/** See `locking_mode` of cluster_auth_preference. */
const STRICT_MS = 5 * 60_000
const BEST_EFFORT_MS = 60 * 60_000

export interface CallerOptions {
  clusterName: string
  hostId: string
  keys: () => VerificationKey[]
  /** Asks for the keys anew, not more often than is good for who is asked. */
  refreshKeys?: (() => Promise<void>) | undefined
  /** See `AgentOptions`. */
  knownSince?: (() => number) | undefined
  /** How long nothing was heard of the Auth Service, ms; absent where it is in the same process. */
  staleMs?: (() => number | undefined) | undefined
  feed: ResourceFeed
  now: () => number
}

interface Known {
  /** As it was when the caller was made: another one has other labels. */
  app: App
  caller: Caller
  issuedAt: number
  expiresAt: number
}

/** Of a caller who is known, but locked. */
export class Locked extends AppError {
  readonly identity: Identity

  constructor(reason: string, identity: Identity) {
    super('permission_denied', reason, { details: { rpc: -32603 } })
    this.identity = identity
  }
}

/** Of a caller who is known, by an assertion from before a restart or change: one that is issued now may be good. */
export class Outdated extends AppError {
  readonly identity: Identity

  constructor(identity: Identity) {
    super('unauthenticated', OUTDATED, { details: { outdated: true } })
    this.identity = identity
  }
}

const OUTDATED = 'the route assertion is no longer valid: get a new one'

/** Verifies route assertions, once each, and keeps what follows from them until something it rests on changes. */
export class Callers {
  readonly #options: CallerOptions
  /** By assertion, which is for one server. */
  readonly #known = new Map<string, Known>()
  /** All there are, until one changes. */
  #locks: readonly Lock[] | undefined
  /** User → the moment of the last change: assertions from before it speak of roles that may be gone. */
  readonly #changedAt = new Map<string, number>()
  /** Id of a revoked credential → the moment. */
  readonly #revoked = new Map<string, number>()
  /** What was changed or revoked before that moment is not known here. */
  readonly #knownSince: () => number
  /** Counts changes that compiled decisions depend on. */
  #epoch = 0

  constructor(options: CallerOptions) {
    this.#options = options
    const startedAt = options.now()
    this.#knownSince = options.knownSince ?? (() => startedAt)
  }

  /**
   * Who brings an assertion that was verified before; undefined for one that was not.
   * @throws AppError unauthenticated when it is not valid any more, permission_denied for a lock in force.
   */
  find(assertion: string, app: App): Caller | undefined {
    const known = this.#known.get(assertion)
    return known?.app === app ? this.#current(assertion, known) : undefined
  }

  /** @throws AppError unauthenticated for an assertion that is not valid here and now, permission_denied for a lock in force. */
  async verify(assertion: string, app: App): Promise<Caller> {
    return this.find(assertion, app) ?? this.#current(assertion, await this.#verifyNew(assertion, app))
  }

  #current(assertion: string, { app, caller, issuedAt, expiresAt }: Known): Caller {
    const { identity } = caller
    const changedAt = this.#changedAt.get(identity.name)
    const isStale = issuedAt < this.#knownSince() || (changedAt !== undefined && issuedAt <= changedAt)
    const isExpired = expiresAt <= this.#options.now()
    if (isExpired || isStale || this.#isRevoked(identity)) {
      this.#known.delete(assertion)
      const mayStay = !isExpired && this.reasonToCut(identity, app) === undefined
      throw mayStay ? new Outdated(identity) : new AppError('unauthenticated', OUTDATED)
    }
    const reason = this.lockReasonFor(identity)
    if (reason !== undefined) throw new Locked(reason, identity)
    const stale = this.#reasonOfStaleness(identity)
    if (stale !== undefined) throw new AppError('unavailable', stale)
    return caller
  }

  async #verifyNew(assertion: string, app: App): Promise<Known> {
    const { clusterName, keys, refreshKeys, now } = this.#options
    const kid = findKeyId(assertion)
    if (refreshKeys && kid !== undefined && !keys().some((key) => key.kid === kid)) await refreshKeys()
    const verified = await verifyAssertion(assertion, keys(), { clusterName, server: app.metadata.name, now: now() })
    const known = {
      app,
      caller: this.#createCaller(verified.identity, assertion, app),
      issuedAt: verified.issuedAt,
      expiresAt: verified.expiresAt,
    }
    this.#known.set(assertion, known)
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= MAX_CALLERS) break
      this.#known.delete(oldest)
    }
    return known
  }

  #createCaller(identity: Identity, assertion: string, app: App): Caller {
    let epoch = -1
    let access: ServerAccess | undefined
    return {
      identity,
      assertion,
      access: () => {
        if (!access || epoch !== this.#epoch) {
          epoch = this.#epoch
          access = this.accessOf(identity, app)
        }
        return access
      },
      reasonToLeave: () => this.reasonToCut(identity, app),
    }
  }

  /** What the roles of an identity, as they are now, say about a server. A role that no longer exists grants nothing. */
  accessOf(identity: Identity, app: App): ServerAccess {
    return serverAccess(this.#roleSetOf(identity), serverViewOf(app), this.#factsOf(identity))
  }

  /** What the roles of an identity, as they are now, say about connecting to a database as this user. */
  checkDatabase(identity: Identity, app: App, session: DatabaseSession): Decision {
    return checkDatabase(this.#roleSetOf(identity), serverViewOf(app), session, this.#factsOf(identity))
  }

  /** The users and names that they list. */
  databasePatterns(identity: Identity, app: App): ReturnType<typeof databasePatterns> {
    return databasePatterns(this.#roleSetOf(identity), serverViewOf(app))
  }

  #roleSetOf(identity: Identity): RoleSet {
    return compileRoles(
      identity.roles.flatMap((name) => this.#options.feed.find('role', name) ?? []),
      identity,
    )
  }

  #factsOf({ mfaVerified }: Identity): AccessFacts {
    const preference = this.#options.feed.find('cluster_auth_preference', CLUSTER_AUTH_PREFERENCE)
    return { mfaVerified, requireMfa: requiresSessionMfa(preference?.spec.require_session_mfa) }
  }

  lockReasonFor(identity: Identity): string | undefined {
    this.#locks ??= this.#options.feed.list('lock')
    if (this.#locks.length === 0) return undefined
    const lock = findLock(this.#locks, identity, this.#options.now(), { serverId: this.#options.hostId })
    return lock && lockReason(lock)
  }

  /** Without news nobody knows who is locked by now: `strict` bears that for five minutes, `best_effort` for an hour. */
  #reasonOfStaleness(identity: Identity): string | undefined {
    const ms = this.#options.staleMs?.() ?? 0
    if (ms <= STRICT_MS || (ms <= BEST_EFFORT_MS && !this.#isStrict(identity))) return undefined
    return `this agent has heard nothing of the Auth Service for ${Math.floor(ms / 60_000)} minutes and cannot tell who is locked: try again later`
  }

  #isStrict(identity: Identity): boolean {
    const { feed } = this.#options
    if (feed.find('cluster_auth_preference', CLUSTER_AUTH_PREFERENCE)?.spec.locking_mode === 'strict') return true
    return identity.roles.some((name) => feed.find('role', name)?.spec.options?.lock === 'strict')
  }

  /** Why an identity that has a session open on this server may not keep it; undefined when it may. */
  reasonToCut(identity: Identity, app: App): string | undefined {
    const locked = this.lockReasonFor(identity)
    if (locked !== undefined) return locked
    const stale = this.#reasonOfStaleness(identity)
    if (stale !== undefined) return stale
    if (this.#isRevoked(identity)) return 'the credential of this MCP session was revoked'
    const { feed } = this.#options
    const isBot = identity.kind === 'bot'
    const holder = isBot ? feed.find('bot', botNameOf(identity.name)) : feed.find('user', identity.name)
    if (identity.kind !== 'host' && !holder) return `${identity.kind} "${identity.name}" no longer exists`
    const roles = holder ? identity.roles.filter((role) => holder.spec.roles.includes(role)) : identity.roles
    const { decision } = this.accessOf({ ...identity, roles }, app)
    return decision.allow ? undefined : decision.reason
  }

  /** By its own id, or with the instance of a bot that it belongs to. */
  #isRevoked({ credentialId, botInstanceId }: Identity): boolean {
    return this.#revoked.has(credentialId) || (botInstanceId !== undefined && this.#revoked.has(botInstanceId))
  }

  /** Marks are needed as long as a session, or an assertion, from before them could be there, and no longer. */
  #mark(marks: Map<string, number>, name: string, at: number | undefined): void {
    const now = this.#options.now()
    marks.delete(name)
    marks.set(name, at ?? now)
    for (const [oldest, at] of marks) {
      if (now - at < MARK_MS && marks.size <= MAX_MARKS) return
      marks.delete(oldest)
    }
  }

  /** Forgets what rested on the changed thing. */
  apply(change: Change): void {
    if (change.type === 'revoked') this.#mark(this.#revoked, change.name, change.at)
    else if (change.kind === 'user') this.#mark(this.#changedAt, change.name, change.at)
    else if (change.kind === 'bot') this.#mark(this.#changedAt, botUserName(change.name), change.at)
    else if (change.kind === 'role' || change.kind === 'cluster_auth_preference') this.#epoch += 1
    else if (change.kind === 'lock') this.#locks = undefined
    else if (change.kind === 'app' || change.kind === 'db') this.#known.clear()
  }
}

import { findLock, lockReason } from '../../access/locks.ts'
import { WATCH_BEAT_MS } from '../../api/watch.ts'
import { AppError } from '../../lib/errors.ts'
import { type Change, REVOCABLES } from '../../resources/feed.ts'
import type { Identity } from '../../resources/identity.ts'
import type { Kind } from '../../resources/registry.ts'
import type { LiveResources } from './live-resources.ts'
import { type Revoked, Watch } from './watch.ts'

export interface WatchesOptions {
  live: LiveResources
  /** Another one for every start. */
  epoch: string
  /** What changed before this process began, as far as it is kept. */
  recent?: readonly { type: Change['type']; kind: string; name: string; at: number }[]
  /** From when on that is all, ms since 1970; now unless given. */
  knownSince?: number
  /** Milliseconds since 1970. */
  now: () => number
  beatEveryMs?: number
}

const MAX_WATCHES = 10_000
/** Of one host: while it renews its certificate it has two. */
const MAX_PER_HOST = 8
/** An agent that hears nothing keeps its sessions for an hour at most (`best_effort`), and is told afterwards what ends them; the rest is for clocks. */
const RECENT_MS = 61 * 60_000
const MAX_REVOKED = 10_000
const MAX_CHANGED = 200_000
/** All of them are told to who begins to watch. */
const MAX_DELETED = 50_000

/** Those who watch resources over connections. What is revoked while this is there is told to those who come later, too. */
export class Watches {
  readonly #options: WatchesOptions
  readonly #watches = new Set<Watch>()
  readonly #revoked: Revoked[] = []
  /** `kind name` of what changed lately → when. */
  readonly #changed = new Map<string, number>()
  /** The same of what was deleted: another may be there under its name by now. */
  readonly #deleted = new Map<string, number>()
  readonly #timer: NodeJS.Timeout
  readonly #unsubscribe: () => void
  #knownSince: number
  #isClosed = false

  constructor(options: WatchesOptions) {
    const { live, now, recent = [], knownSince = now(), beatEveryMs = WATCH_BEAT_MS } = options
    this.#options = options
    this.#knownSince = knownSince
    for (const { type, kind, name, at } of recent) {
      const revocable = REVOCABLES.find((one) => one === kind)
      if (type !== 'revoked') this.#noteChanged(type, `${kind} ${name}`, at)
      else if (revocable) this.#noteRevoked({ kind: revocable, name, at })
    }
    this.#unsubscribe = live.subscribe((change) => this.#apply(change))
    this.#timer = setInterval(() => this.#beat(), beatEveryMs).unref()
  }

  /** NDJSON, see `watchLine`. @throws AppError resource_exhausted when there are too many of them. */
  open(identity: Identity, kinds: readonly Kind[]): ReadableStream<Uint8Array> {
    if (this.#isClosed) throw new AppError('unavailable', 'the Auth Service is stopping: try again in a moment')
    const own = [...this.#watches].filter((watch) => watch.identity.name === identity.name).length
    if (this.#watches.size >= MAX_WATCHES || own >= MAX_PER_HOST)
      throw new AppError('resource_exhausted', 'too many watches at once: end one, or try again later')
    const { live, epoch, now } = this.#options
    const onEnd = (): void => void this.#watches.delete(watch)
    const recent = { knownSince: this.#knownSince, revoked: [...this.#revoked], changed: this.#changed, deleted: this.#deleted }
    const watch = new Watch({ live, identity, kinds, epoch, now, ...recent, onEnd })
    this.#watches.add(watch)
    return watch.stream
  }

  /** Ends them all: what was revoked before now is not known here any more. */
  beginAnew(): void {
    this.#knownSince = this.#options.now()
    this.#revoked.length = 0
    this.#changed.clear()
    this.#deleted.clear()
    for (const watch of this.#watches) watch.end('changes were missed: begin anew')
  }

  /** Ends them all, and lets in no more. */
  close(): void {
    this.#isClosed = true
    clearInterval(this.#timer)
    this.#unsubscribe()
    for (const watch of this.#watches) watch.end('the Auth Service is stopping')
  }

  #apply(change: Change): void {
    const at = this.#options.now()
    if (change.type === 'revoked') this.#noteRevoked({ kind: change.kind, name: change.name, at })
    else this.#noteChanged(change.type, `${change.kind} ${change.name}`, at)
    for (const watch of this.#watches) {
      watch.tell(change, at)
      if (change.type === 'revoked' && change.name === watch.identity.credentialId) watch.end('the certificate was revoked')
      if (change.type === 'delete' && change.kind === 'host' && change.name === watch.identity.name) watch.end('the host was removed')
    }
    if (change.kind === 'lock') this.#endWhoMayNotStay()
  }

  #beat(): void {
    this.#endWhoMayNotStay()
    for (const watch of this.#watches) watch.beat()
  }

  #endWhoMayNotStay(): void {
    for (const watch of this.#watches) {
      const reason = this.#reasonToEnd(watch.identity)
      if (reason !== undefined) watch.end(reason)
    }
  }

  #reasonToEnd(identity: Identity): string | undefined {
    const { live, now } = this.#options
    if (identity.expiresAt <= now()) return 'the certificate has expired'
    const lock = findLock(live.list('lock'), identity, now())
    return lock && lockReason(lock)
  }

  #noteRevoked(one: Revoked): void {
    this.#revoked.push(one)
    for (let oldest = this.#revoked[0]; oldest && this.#isOver(oldest.at, one.at); oldest = this.#revoked[0]) {
      this.#knownSince = Math.max(this.#knownSince, oldest.at)
      this.#revoked.shift()
    }
  }

  #isOver(at: number, now: number): boolean {
    return this.#revoked.length > MAX_REVOKED || now - at > RECENT_MS
  }

  #noteChanged(type: 'put' | 'delete', key: string, at: number): void {
    noteLatest(this.#changed, key, at, MAX_CHANGED)
    if (type === 'delete') noteLatest(this.#deleted, key, at, MAX_DELETED)
  }
}

/** Forgets those that are too old by then, or too many. */
function noteLatest(times: Map<string, number>, key: string, at: number, most: number): void {
  times.delete(key)
  times.set(key, at)
  for (const [oldest, when] of times) {
    if (at - when <= RECENT_MS && times.size <= most) return
    times.delete(oldest)
  }
}

import { WATCH_BEAT_MS, type WatchLine } from '../api/watch.ts'
import { AppError, toAppError } from '../lib/errors.ts'
import { createLineReader } from '../lib/lines.ts'
import type { Logger } from '../lib/log.ts'
import { pause } from '../lib/pause.ts'
import type { Change, ResourceFeed } from '../resources/feed.ts'
import { isKind } from '../resources/registry.ts'
import type { Kind } from '../resources/registry.ts'
import { createShelves, type Shelves } from '../resources/shelves.ts'
import { type Deleted, Intake, MAX_RESOURCES, UNREADABLE } from './watch-intake.ts'
import { readWatched } from './watched-resource.ts'

export interface WatchOptions {
  /** Opens a watch with the credentials of this moment: the bytes of its lines, until the signal fires. */
  open(signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>
  kinds: readonly Kind[]
  /** Milliseconds of a clock that nobody sets. */
  monotonic: () => number
  /** Runs something once, after so many ms, unless the returned function is called before. */
  after(ms: number, run: () => void): () => void
  /** From 0 to 1. */
  random: () => number
  log: Logger
}

const MAX_LINE_BYTES = 4 * 1024 * 1024
/** Of the beats two may be late, or the other side is gone. */
const SILENCE_MS = 2 * WATCH_BEAT_MS + 10_000
/** Longer than an assertion lives. */
const RECENT_MS = 6 * 60_000
/** What is older than that when a watch begins anew was heard before, whatever the clocks of two Auth Services say. */
const HEARD_MS = 30 * 60_000
/** The same of what ends sessions: those of after it would end, too. */
const REPLACED_MS = 60_000
const FIRST_PAUSE_MS = 500
const MAX_PAUSE_MS = 30_000

/**
 * The resources of the cluster, followed over a connection. A watch that ends, is silent or has lost something is opened again; what changed in
 * between is then told like any other change. Until the first `ready` it is empty.
 */
export class WatchedFeed implements ResourceFeed {
  readonly #options: WatchOptions
  readonly #listeners = new Set<(change: Change) => void>()
  readonly #closing = new AbortController()
  readonly #ready = Promise.withResolvers<void>()
  readonly #running: Promise<void>
  #shelves: Shelves = createShelves()
  readonly #recent = new Map<string, Change>()
  #knownSince = Number.MAX_SAFE_INTEGER
  #epoch = ''
  /** Of the last line that came while in step. */
  #heardAt: number | undefined
  /** By the clock of the Auth Service. */
  #heardUntil = 0
  #isInStep = false
  #fault: AppError | undefined

  constructor(options: WatchOptions) {
    this.#options = options
    this.#running = this.#run()
  }

  list<K extends Kind>(kind: K) {
    return this.#shelves.list(kind)
  }

  find<K extends Kind>(kind: K, name: string) {
    return this.#shelves.find(kind, name)
  }

  /** Tells of what happened to users and credentials in the last minutes, too: what was issued before may still be shown. */
  subscribe(listener: (change: Change) => void): () => void {
    for (const change of this.#recent.values()) listener(change)
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** Settles when the resources are there for the first time; never rejects. */
  ready(): Promise<void> {
    return this.#ready.promise
  }

  /** How long nothing was heard, ms; 0 while in step, undefined when nothing has come yet. */
  staleMs(): number | undefined {
    if (this.#heardAt === undefined) return undefined
    return this.#isInStep ? 0 : this.#options.monotonic() - this.#heardAt
  }

  /** Why it is not in step. */
  fault(): AppError | undefined {
    return this.#isInStep ? undefined : this.#fault
  }

  /** The moment, by the clock of the Auth Service, from which on every revocation is known here. */
  knownSince(): number {
    return this.#knownSince
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { log } = this.#options
    let failures = 0
    while (!this.#closing.signal.aborted) {
      try {
        await this.#follow(() => (failures = 0))
      } catch (thrown) {
        if (this.#closing.signal.aborted) return
        this.#fault = toAppError(thrown)
        if (failures === 0) log.warn('the watch of resources broke off: trying again', { error: this.#fault })
      }
      this.#isInStep = false
      const most = Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures, 10))
      failures += 1
      await pause(most * (0.5 + this.#options.random() / 2), this.#closing.signal, this.#options)
    }
  }

  /** One watch, to its end, which is always an error. */
  async #follow(onReady: () => void): Promise<never> {
    const { open, after } = this.#options
    const stop = new AbortController()
    const signal = AbortSignal.any([this.#closing.signal, stop.signal])
    const onSilence = (): void => stop.abort(new DOMException('silence', 'TimeoutError'))
    let cancel = after(SILENCE_MS, onSilence)
    try {
      const reader = createLineReader({ maxLineBytes: MAX_LINE_BYTES })
      const intake = new Intake(this.#options.kinds)
      for await (const chunk of await open(signal)) {
        cancel()
        cancel = after(SILENCE_MS, onSilence)
        for (const text of reader.push(chunk)) this.#take(intake.read(text), intake, onReady)
        if (this.#isInStep) this.#heardAt = this.#options.monotonic()
      }
      throw new AppError('unavailable', 'the Auth Service ended the watch')
    } catch (thrown) {
      if (stop.signal.aborted) throw new AppError('unavailable', `nothing was heard of the Auth Service for ${SILENCE_MS / 1000} s`)
      throw thrown
    } finally {
      cancel()
      stop.abort()
    }
  }

  #take(line: WatchLine, intake: Intake, onReady: () => void): void {
    if (line.type === 'end') throw new AppError('unavailable', `the Auth Service ended the watch: ${line.reason}`)
    if (line.type === 'ready') {
      this.#adopt(intake)
      this.#isInStep = true
      this.#fault = undefined
      onReady()
      this.#ready.resolve()
    } else if (intake.isReady) this.#apply(line)
    else intake.keep(line, (message, fields) => this.#options.log.error(message, fields))
  }

  /** Takes over what there is now, and tells of all that is different from before, and of what was changed or revoked lately. */
  #adopt({ begin, shelves, recent, replaced }: Intake): void {
    const isFirst = this.#epoch === ''
    const isNews = ({ at = 0 }: Change, ms = HEARD_MS): boolean => isFirst || at > this.#heardUntil - ms
    const changes = new Map(recent.entries().filter(([, change]) => isNews(change)))
    const missed = isFirst ? [] : replaced.filter((one) => isNews(one, REPLACED_MS))
    for (const change of differences(this.#shelves, shelves, this.#options.kinds, begin.at)) {
      const key = `${change.kind} ${change.name}`
      if (!changes.has(key)) changes.set(key, change)
    }
    // What nobody told of is known of neither here: only what was issued since then counts.
    if (begin.epoch !== this.#epoch || begin.known_since > this.#heardUntil) this.#knownSince = begin.known_since
    this.#epoch = begin.epoch
    this.#heardUntil = begin.at
    this.#shelves = shelves
    for (const one of missed) this.#tellReplaced(one)
    for (const change of changes.values()) this.#tell(change)
  }

  /** That something went is told while it is not there, so that what rests on the one before ends. */
  #tellReplaced(deleted: Deleted): void {
    const { kind, name } = deleted
    const resource = this.#shelves.find<Kind>(kind, name)
    this.#shelves.remove(kind, name)
    this.#tell(deleted)
    if (resource) this.#shelves.put<Kind>(kind, resource)
    this.#tell({ type: 'put', kind, name, at: deleted.at ?? 0 })
  }

  #apply(line: WatchLine): void {
    this.#heardUntil = Math.max(this.#heardUntil, line.at)
    if (line.type === 'revoked') this.#tell({ type: 'revoked', kind: line.kind, name: line.name, at: line.at })
    if (line.type === 'delete' && isKind(line.kind) && this.#shelves.remove(line.kind, line.name))
      this.#tell({ type: 'delete', kind: line.kind, name: line.name, at: line.at })
    if (line.type !== 'put' || !isKind(line.kind)) return
    const { kind, at, resource: document } = line
    const { resource, fault } = readWatched(kind, document)
    if (fault !== undefined) this.#options.log.error(UNREADABLE, { kind, name: document.metadata.name, fault })
    if (resource) this.#shelves.put<Kind>(kind, resource)
    else this.#shelves.remove(kind, document.metadata.name)
    const { name } = document.metadata
    this.#tell(resource ? { type: 'put', kind, name, at } : { type: 'delete', kind, name, at })
  }

  #tell(change: Change): void {
    this.#remember(change)
    for (const listener of this.#listeners) {
      try {
        listener(change)
      } catch (thrown) {
        this.#options.log.error('a watcher of resources failed', { error: thrown, change })
      }
    }
  }

  #remember(change: Change): void {
    if (change.type !== 'revoked' && change.kind !== 'user' && change.kind !== 'bot') return
    const key = `${change.kind} ${change.name}`
    this.#recent.delete(key)
    this.#recent.set(key, change)
    for (const [oldest, { at = 0 }] of this.#recent) {
      if (this.#heardUntil - at <= RECENT_MS && this.#recent.size <= MAX_RESOURCES) return
      this.#recent.delete(oldest)
    }
  }
}

/** `at` of those that nobody says when they were changed. */
function differences(before: Shelves, now: Shelves, kinds: readonly Kind[], at: number): Change[] {
  return kinds.flatMap((kind) => {
    const gone = before.list<Kind>(kind).filter(({ metadata }) => !now.find(kind, metadata.name))
    const other = now.list<Kind>(kind).filter((one) => JSON.stringify(before.find<Kind>(kind, one.metadata.name)) !== JSON.stringify(one))
    const name = ({ metadata }: { metadata: { name: string } }): string => metadata.name
    return [
      ...gone.map((one): Change => ({ type: 'delete', kind, name: name(one), at })),
      ...other.map((one): Change => ({ type: 'put', kind, name: name(one), at: 0 })),
    ]
  })
}

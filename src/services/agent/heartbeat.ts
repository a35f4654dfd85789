import { setTimeout as sleep } from 'node:timers/promises'
import type { ApiClient } from '../../client/call.ts'
import { type HostFacts, removeAppServer, removeDatabaseServer, saveAppServers, saveDatabaseServers } from '../../client/agent.ts'
import { toAppError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { Rounds } from '../../mcp/rounds.ts'
import type { App } from '../../resources/app.ts'
import type { Database } from '../../resources/db.ts'
import type { Health } from '../../resources/app-server.ts'

const PERIOD_MS = 60_000
/** Missing three heartbeats takes a server off the lists. */
const LIFETIME_MS = 4 * PERIOD_MS
/** Of a thousand servers eight or nine are due at a time, and none waits for all others. */
const STEP_MS = 500
/** A server that fails and recovers all the time is told of once in so long. */
const TOUCH_MS = 1000
/** What could not be told because the Auth Service was away is not left to the next heartbeat. */
const AGAIN_MS = 5000
/** Servers told of in one transaction, or withdrawn at a time: so many hold up nobody. */
const BATCH = 20
/** For taking what was offered off the lists at the end. */
const GOODBYE_MS = 5000

export interface HeartbeatOptions {
  api: ApiClient
  hostId: string
  hostname: string
  version: string
  now: () => number
  log: Logger
}

/** How the Auth Service is told of one kind of thing that agents offer. */
export interface HeartbeatStore<T> {
  /** Returns what this host may not offer, with the reason. */
  save(api: ApiClient, facts: HostFacts, items: readonly T[]): Promise<{ name: string; reason: string }[]>
  remove(api: ApiClient, hostId: string, name: string): Promise<void>
}

/** @param healthOf how the server of this name does, asked whenever it is told of. */
export function appServers(healthOf: (name: string) => Health | undefined): HeartbeatStore<App> {
  return {
    save: (api, facts, apps) => saveAppServers(api, { ...facts, apps, healthOf }),
    remove: removeAppServer,
  }
}

export const DATABASE_SERVERS: HeartbeatStore<Database> = {
  save: (api, facts, databases) => saveDatabaseServers(api, { ...facts, databases }),
  remove: removeDatabaseServer,
}

/** Tells the Auth Service what this agent offers, again and again; of each thing what was said last is what it hears last. */
export class Heartbeat<T extends { metadata: { name: string } }> {
  readonly #options: HeartbeatOptions
  readonly #store: HeartbeatStore<T>
  readonly #onRefused: (name: string, reason: string) => void
  readonly #timer: NodeJS.Timeout
  readonly #offered = new Map<string, T>()
  readonly #rounds: Rounds<T>
  /** What is still to be told, by name: a server, or that it is gone. */
  readonly #waiting = new Map<string, T | undefined>()
  /** What this host may not offer, and why. */
  readonly #refused = new Map<string, string>()
  readonly #touched = new Map<string, NodeJS.Timeout>()
  /** What could not be told → when it is tried again, ms since 1970. */
  readonly #untold = new Map<string, number>()
  #isClosed = false
  #writing: Promise<void> | undefined

  /** @param onRefused told once of what this host may not offer, or no longer. */
  constructor(options: HeartbeatOptions, store: HeartbeatStore<T>, onRefused: (name: string, reason: string) => void = () => {}) {
    this.#options = options
    this.#onRefused = onRefused
    this.#store = store
    this.#rounds = new Rounds(this.#offered, PERIOD_MS, options.now())
    this.#timer = setInterval(() => this.beat(), STEP_MS).unref()
  }

  /** Nothing once it is closed: labels and the like may change until the last server is. */
  announce(item: T): void {
    if (this.#isClosed) return
    this.#offered.set(item.metadata.name, item)
    this.#enqueue(item.metadata.name, item)
  }

  /** Something about it changed: told soon, together with what else changes until then. */
  touch(name: string): void {
    if (!this.#offered.has(name) || this.#touched.has(name)) return
    const timer = setTimeout(() => {
      this.#touched.delete(name)
      const app = this.#offered.get(name)
      if (app) this.#enqueue(name, app)
    }, TOUCH_MS).unref()
    this.#touched.set(name, timer)
  }

  withdraw(name: string): void {
    this.#offered.delete(name)
    this.#refused.delete(name)
    this.#enqueue(name, undefined)
  }

  /** Tells anew of the servers that are due: each once a minute, a few at a time, and of those that could not be told of. Done twice a second. */
  beat(): void {
    const now = this.#options.now()
    this.#rounds.step(now, (app) => this.#enqueue(app.metadata.name, app))
    for (const [name, at] of this.#untold) {
      if (at > now) break
      this.#untold.delete(name)
      const app = this.#offered.get(name)
      if (app) this.#enqueue(name, app)
    }
  }

  /** Settles when all that was asked for is done. */
  async settled(): Promise<void> {
    while (this.#writing) await this.#writing
  }

  /** Withdraws all. An Auth Service that does not answer in time learns of it when the last heartbeat is over. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    for (const timer of this.#touched.values()) clearTimeout(timer)
    for (const name of this.#offered.keys()) this.withdraw(name)
    this.#isClosed = true
    await Promise.race([this.settled(), sleep(GOODBYE_MS, undefined, { ref: false })])
  }

  #enqueue(name: string, app: T | undefined): void {
    this.#waiting.delete(name)
    this.#waiting.set(name, app)
    this.#writing ??= this.#write()
  }

  /** Never rejects: what is not told now is told later. */
  async #write(): Promise<void> {
    // What is asked for in one go is told together.
    await Promise.resolve()
    for (;;) {
      const [first] = this.#waiting
      if (!first) {
        // In the same step: what comes after it begins anew.
        this.#writing = undefined
        return
      }
      if (first[1]) await this.#tell(this.#takeBatch((_, app) => app))
      else await this.#withdrawAll(this.#takeBatch((name, app) => (app ? undefined : name)))
    }
  }

  /** As long as there is something of the same kind. */
  #takeBatch<B>(pick: (name: string, app: T | undefined) => B | undefined): B[] {
    const batch: B[] = []
    for (const [name, app] of this.#waiting) {
      const picked = pick(name, app)
      if (picked === undefined || batch.length === BATCH) break
      this.#waiting.delete(name)
      batch.push(picked)
    }
    return batch
  }

  /**
   * Together: each is a change of its own, which waits for its turn behind those that others make. One after the other, an agent that goes would
   * wait as often as it has servers.
   */
  async #withdrawAll(names: readonly string[]): Promise<void> {
    const { api, hostId } = this.#options
    await Promise.all(names.map((name) => this.#logged(() => this.#store.remove(api, hostId, name))))
  }

  async #tell(apps: readonly T[]): Promise<void> {
    const { api, hostId, hostname, version, now } = this.#options
    const save = async (some: readonly T[]): Promise<void> => {
      const expires = new Date(now() + LIFETIME_MS).toISOString()
      const refused = await this.#store.save(api, { hostId, hostname, version, expires }, some)
      for (const { metadata } of some) this.#noteRefused(metadata.name, refused.find(({ name }) => name === metadata.name)?.reason)
    }
    await this.#logged(async () => {
      try {
        await save(apps)
      } catch (thrown) {
        const { code } = toAppError(thrown)
        const isAway = code === 'unavailable' || code === 'deadline_exceeded'
        if (isAway) for (const { metadata } of apps) this.#tellAgain(metadata.name)
        if (apps.length === 1 || isAway) throw thrown
        // One that is refused keeps the others from being told.
        for (const app of apps) await this.#logged(() => save([app]))
      }
    })
  }

  #tellAgain(name: string): void {
    this.#untold.delete(name)
    this.#untold.set(name, this.#options.now() + AGAIN_MS)
  }

  /** Said once, however often it is told of. */
  #noteRefused(name: string, reason: string | undefined): void {
    if (reason === undefined) this.#refused.delete(name)
    else if (this.#refused.get(name) !== reason) {
      this.#refused.set(name, reason)
      this.#options.log.warn('this host may not offer what it serves', { name, reason })
      this.#onRefused(name, reason)
    }
  }

  async #logged(write: () => Promise<void>): Promise<void> {
    try {
      await write()
    } catch (thrown) {
      this.#options.log.warn('heartbeat failed', { error: String(thrown) })
    }
  }
}

import type { ApiClient } from '../../client/call.ts'
import { removeAppServer, saveAppServers } from '../../client/agent.ts'
import { toAppError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { Rounds } from '../../mcp/rounds.ts'
import type { App } from '../../resources/app.ts'

const PERIOD_MS = 60_000
/** Missing three heartbeats takes a server off the lists. */
const LIFETIME_MS = 4 * PERIOD_MS
/** Of a thousand servers eight or nine are due at a time, and none waits for all others. */
const STEP_MS = 500
/** Servers told of in one transaction: so many hold up nobody. */
const BATCH = 20

export interface HeartbeatOptions {
  api: ApiClient
  hostId: string
  hostname: string
  version: string
  now: () => number
  log: Logger
}

/** Tells the Auth Service which MCP servers this agent offers, again and again; of each server what was said last is what it hears last. */
export class Heartbeat {
  readonly #options: HeartbeatOptions
  readonly #timer: NodeJS.Timeout
  readonly #offered = new Map<string, App>()
  readonly #rounds: Rounds<App>
  /** What is still to be told, by name: a server, or that it is gone. */
  readonly #waiting = new Map<string, App | undefined>()
  #writing: Promise<void> | undefined

  constructor(options: HeartbeatOptions) {
    this.#options = options
    this.#rounds = new Rounds(this.#offered, PERIOD_MS, options.now())
    this.#timer = setInterval(() => this.beat(), STEP_MS).unref()
  }

  announce(app: App): void {
    this.#offered.set(app.metadata.name, app)
    this.#enqueue(app.metadata.name, app)
  }

  withdraw(name: string): void {
    this.#offered.delete(name)
    this.#enqueue(name, undefined)
  }

  /** Tells anew of the servers that are due: each once a minute, a few at a time. Done twice a second. */
  beat(): void {
    this.#rounds.step(this.#options.now(), (app) => this.#enqueue(app.metadata.name, app))
  }

  /** Settles when all that was asked for is done. */
  async settled(): Promise<void> {
    await this.#writing
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    for (const name of this.#offered.keys()) this.withdraw(name)
    await this.#writing
  }

  #enqueue(name: string, app: App | undefined): void {
    this.#waiting.delete(name)
    this.#waiting.set(name, app)
    this.#writing ??= this.#write().finally(() => (this.#writing = undefined))
  }

  /** Never rejects: what is not told now is told with the next heartbeat. */
  async #write(): Promise<void> {
    // What is asked for in one go is told together.
    await Promise.resolve()
    for (;;) {
      const [first] = this.#waiting
      if (!first) return
      const [name, app] = first
      if (app) await this.#tell(this.#takeBatch())
      else {
        this.#waiting.delete(name)
        await this.#logged(() => removeAppServer(this.#options.api, this.#options.hostId, name))
      }
    }
  }

  #takeBatch(): App[] {
    const batch: App[] = []
    for (const [name, app] of this.#waiting) {
      if (!app || batch.length === BATCH) break
      this.#waiting.delete(name)
      batch.push(app)
    }
    return batch
  }

  async #tell(apps: readonly App[]): Promise<void> {
    const { api, hostId, hostname, version, now } = this.#options
    const save = (some: readonly App[]): Promise<void> => {
      const expires = new Date(now() + LIFETIME_MS).toISOString()
      return saveAppServers(api, { hostId, hostname, version, apps: some, expires })
    }
    await this.#logged(async () => {
      try {
        await save(apps)
      } catch (thrown) {
        if (apps.length === 1 || toAppError(thrown).code === 'unavailable') throw thrown
        // One that is refused keeps the others from being told.
        for (const app of apps) await this.#logged(() => save([app]))
      }
    })
  }

  async #logged(write: () => Promise<void>): Promise<void> {
    try {
      await write()
    } catch (thrown) {
      this.#options.log.warn('heartbeat failed', { error: String(thrown) })
    }
  }
}

import type { ApiClient } from '../../client/call.ts'
import { removeAppServer, saveAppServer } from '../../client/agent.ts'
import type { Logger } from '../../lib/log.ts'
import type { App } from '../../resources/app.ts'

const PERIOD_MS = 60_000
/** Missing three heartbeats takes a server off the lists. */
const LIFETIME_MS = 4 * PERIOD_MS

export interface HeartbeatOptions {
  api: ApiClient
  hostId: string
  hostname: string
  version: string
  served: () => App[]
  now: () => number
  log: Logger
}

/** Tells the Auth Service which MCP servers this agent offers; writes are done one after the other, in the order asked for. */
export class Heartbeat {
  readonly #options: HeartbeatOptions
  readonly #timer: NodeJS.Timeout
  #queue: Promise<void> = Promise.resolve()

  constructor(options: HeartbeatOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.#beatAll(), PERIOD_MS).unref()
  }

  announce(app: App): void {
    const { api, hostId, hostname, version, now } = this.#options
    const expires = new Date(now() + LIFETIME_MS).toISOString()
    this.#enqueue(() => saveAppServer(api, { hostId, hostname, version, app, expires }))
  }

  withdraw(name: string): void {
    this.#enqueue(() => removeAppServer(this.#options.api, this.#options.hostId, name))
  }

  #beatAll(): void {
    for (const app of this.#options.served()) this.announce(app)
  }

  #enqueue(write: () => Promise<void>): void {
    this.#queue = this.#queue.then(write).catch((error: unknown) => this.#options.log.warn('heartbeat failed', { error: String(error) }))
  }

  /** Settles when all that was asked for is done. */
  async settled(): Promise<void> {
    await this.#queue
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    for (const app of this.#options.served()) this.withdraw(app.metadata.name)
    await this.#queue
  }
}

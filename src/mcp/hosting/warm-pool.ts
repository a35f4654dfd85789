import type { Logger } from '../../lib/log.ts'
import type { Child } from '../upstream/child.ts'

export interface WarmPoolOptions {
  /** How many spare processes there are. */
  size: number
  start: () => Promise<Child>
  /** Secrets and accounts change: a spare that is older is replaced. */
  maxAgeMs: number
  /** To the next attempt after this many failures in a row. */
  backoffMs: (failures: number) => number
  server: string
  log: Logger
}

/** Processes that were started before anybody needed them. */
export class WarmPool {
  readonly #options: WarmPoolOptions
  /** Each with the timer that ends it. */
  readonly #spares = new Map<Child, NodeJS.Timeout>()
  #isFilling = false
  #isPaused = false
  #isClosed = false
  #failures = 0
  #timer: NodeJS.Timeout | undefined

  constructor(options: WarmPoolOptions) {
    this.#options = options
    this.#fill()
  }

  /** One that runs, if there is one; another takes its place. */
  take(): Child | undefined {
    const [child] = this.#spares.keys()
    if (!child) return undefined
    this.#remove(child)
    this.#failures = 0
    this.#fill()
    return child
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    const children = [...this.#spares.keys()]
    for (const child of children) this.#remove(child)
    await Promise.all(children.map((child) => child.stop()))
  }

  /** One at a time: they are for later. */
  #fill(): void {
    if (this.#isFilling || this.#isPaused || this.#isClosed || this.#spares.size >= this.#options.size) return
    this.#isFilling = true
    this.#options
      .start()
      .then(
        (child) => this.#add(child),
        (thrown: unknown) => this.#onLost(String(thrown)),
      )
      .finally(() => {
        this.#isFilling = false
        this.#fill()
      })
  }

  #add(child: Child): void {
    if (this.#isClosed) return void child.stop()
    const expiry = setTimeout(() => {
      this.#remove(child)
      void child.stop()
      this.#fill()
    }, this.#options.maxAgeMs).unref()
    this.#spares.set(child, expiry)
    void child.exited.then((exit) => {
      if (this.#remove(child)) this.#onLost(exit.lastStderr ?? exit.reason)
    })
  }

  #remove(child: Child): boolean {
    clearTimeout(this.#spares.get(child))
    return this.#spares.delete(child)
  }

  #onLost(why: string): void {
    const { log, server, backoffMs } = this.#options
    this.#failures += 1
    log.warn('a spare process of an MCP server was lost', { server, why, failures: this.#failures })
    this.#isPaused = true
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#isPaused = false
      this.#fill()
    }, backoffMs(this.#failures)).unref()
  }
}

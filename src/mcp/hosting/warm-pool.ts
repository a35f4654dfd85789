import type { Logger } from '../../lib/log.ts'
import type { Child } from '../upstream/child.ts'
import { type Handshake, Handshakes } from './handshakes.ts'

/** A program that was told what a client says at the beginning of a session, before there is one. */
export interface Rehearsal {
  /** Rejects when the program does not agree; its process is of no use then. */
  readonly agreed: Promise<unknown>
}

export interface Spare<R extends Rehearsal> {
  readonly child: Child
  readonly rehearsal: R | undefined
}

export interface WarmPoolOptions<R extends Rehearsal> {
  /** How many spare processes there are. */
  size: number
  start: () => Promise<Child>
  rehearse: (child: Child, handshake: string) => R
  /** Secrets and accounts change: a spare that is older is replaced. */
  maxAgeMs: number
  /** To the next attempt after this many failures in a row. */
  backoffMs: (failures: number) => number
  server: string
  log: Logger
}

/** A spare with the timer that ends it, and what it was told. */
interface Held<R extends Rehearsal> {
  child: Child
  expiry: NodeJS.Timeout
  handshake: Handshake
  rehearsal: R | undefined
}

/** A session that another client begins has to come so much more often than those for which there are spares before one of them makes room. */
const CLEARLY_MORE = 2

/** Processes that were started before anybody needed them, and told what the next client will probably say. */
export class WarmPool<R extends Rehearsal> {
  readonly #options: WarmPoolOptions<R>
  readonly #spares = new Set<Held<R>>()
  readonly #handshakes = new Handshakes()
  #isFilling = false
  #isPaused = false
  #isClosed = false
  #failures = 0
  #timer: NodeJS.Timeout | undefined

  constructor(options: WarmPoolOptions<R>) {
    this.#options = options
    this.#fill()
  }

  get isEmpty(): boolean {
    return this.#spares.size === 0
  }

  /** One that was told the same as this session says, or nothing yet, if there is one; another takes its place. */
  take(handshake: Handshake): Spare<R> | undefined {
    const all = [...this.#spares]
    const ready = handshake === undefined ? undefined : all.find((spare) => spare.handshake === handshake)
    const spare = ready ?? all.find(({ rehearsal }) => rehearsal === undefined)
    if (handshake === undefined || ready) this.learn(handshake)
    if (!spare) return undefined
    this.#remove(spare)
    this.#failures = 0
    this.#fill()
    return spare
  }

  /** A session began in this way, and the program agreed. */
  learn(handshake: Handshake): void {
    this.#handshakes.note(handshake)
    this.#makeRoom(handshake)
    this.#rehearse()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    const spares = [...this.#spares]
    for (const spare of spares) this.#remove(spare)
    await Promise.all(spares.map(({ child }) => child.stop()))
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
    const expiry = setTimeout(() => this.#replace(spare), this.#options.maxAgeMs).unref()
    const spare: Held<R> = { child, expiry, handshake: undefined, rehearsal: undefined }
    this.#spares.add(spare)
    void child.exited.then((exit) => {
      if (this.#remove(spare)) this.#onLost(exit.lastStderr ?? exit.reason)
    })
    this.#rehearse()
  }

  /** Tells the spares that know nothing what they will probably be told. */
  #rehearse(): void {
    const { rehearse } = this.#options
    const ready = (handshake: Handshake): number => [...this.#spares].filter((spare) => spare.handshake === handshake).length
    for (const spare of this.#spares) {
      if (spare.rehearsal) continue
      // It is itself one of those for whatever comes.
      const handshake = this.#handshakes.next((other) => ready(other) - (other === undefined ? 1 : 0))
      if (handshake === undefined) return
      const rehearsal = rehearse(spare.child, handshake)
      spare.handshake = handshake
      spare.rehearsal = rehearsal
      void rehearsal.agreed.catch((thrown: unknown) => {
        this.#handshakes.forget(handshake)
        if (!this.#remove(spare)) return // whoever took it is told
        this.#onLost(String(thrown))
        void spare.child.stop()
      })
    }
  }

  /** Where all spares are for sessions that hardly come any more, one of them goes. */
  #makeRoom(handshake: Handshake): void {
    if (this.#spares.size < this.#options.size) return
    const all = [...this.#spares]
    if (all.some((spare) => spare.rehearsal === undefined || spare.handshake === handshake)) return
    const weight = this.#handshakes.weightOf(handshake)
    const rare = all.find((spare) => this.#handshakes.weightOf(spare.handshake) * CLEARLY_MORE < weight)
    if (rare) this.#replace(rare)
  }

  #replace(spare: Held<R>): void {
    if (!this.#remove(spare)) return
    void spare.child.stop()
    this.#fill()
  }

  #remove(spare: Held<R>): boolean {
    clearTimeout(spare.expiry)
    return this.#spares.delete(spare)
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

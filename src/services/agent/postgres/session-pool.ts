import type { DatabaseSession } from '../../../access/check-database.ts'
import { AppError } from '../../../lib/errors.ts'
import type { ConnectionBudget } from './budget.ts'
import type { PostgresSession } from './session.ts'

export interface PoolOptions {
  /** Whose connections count together. */
  owner: string
  budget: ConnectionBudget
  idleMs: number
  /** Told once for each session that was opened. */
  onClosed(wanted: DatabaseSession): void
}

interface Kept {
  wanted: DatabaseSession
  session: PostgresSession
  release: () => void
}

/** The database sessions of one MCP session: opened with the first statement that needs one, closed when idle or with the MCP session. */
export class SessionPool {
  readonly #options: PoolOptions
  readonly #idle = new Map<Kept, () => void>()
  readonly #busy = new Set<Kept>()
  #isClosed = false

  constructor(options: PoolOptions) {
    this.#options = options
  }

  /**
   * Runs `work` with a session that nobody else uses meanwhile; `open` makes one where none is idle.
   * @throws AppError as these two, resource_exhausted, cancelled when closed.
   */
  async use<T>(
    wanted: DatabaseSession,
    { open, work }: { open(): Promise<PostgresSession>; work(session: PostgresSession): Promise<T> },
  ): Promise<T> {
    if (this.#isClosed) throw new AppError('cancelled', 'the MCP session was closed')
    const kept = this.#takeIdle(wanted) ?? (await this.#open(wanted, open))
    this.#busy.add(kept)
    try {
      return await work(kept.session)
    } finally {
      this.#busy.delete(kept)
      if (this.#isClosed || !kept.session.isOpen) this.#end(kept)
      else this.#keep(kept)
    }
  }

  close(): void {
    this.#isClosed = true
    for (const [kept, forget] of this.#idle) {
      forget()
      this.#end(kept)
    }
    for (const kept of this.#busy) kept.session.close()
  }

  #takeIdle({ user, name }: DatabaseSession): Kept | undefined {
    for (const [kept, forget] of this.#idle) {
      if (kept.wanted.user !== user || kept.wanted.name !== name) continue
      forget()
      if (kept.session.isOpen) return kept
      this.#end(kept)
    }
    return undefined
  }

  async #open(wanted: DatabaseSession, open: () => Promise<PostgresSession>): Promise<Kept> {
    const release = this.#options.budget.take(this.#options.owner)
    try {
      const session = await open()
      const kept = { wanted, session, release }
      if (!this.#isClosed) return kept
      this.#end(kept)
    } catch (thrown) {
      release()
      throw thrown
    }
    throw new AppError('cancelled', 'the MCP session was closed')
  }

  #keep(kept: Kept): void {
    const drop = (): void => {
      forget()
      this.#end(kept)
    }
    const timer = setTimeout(drop, this.#options.idleMs).unref()
    // What an idle session hears from its server is that it ends.
    const unwatch = kept.session.onHeard(drop)
    const forget = (): void => {
      clearTimeout(timer)
      unwatch()
      this.#idle.delete(kept)
    }
    this.#idle.set(kept, forget)
  }

  #end({ session, release, wanted }: Kept): void {
    session.close()
    release()
    this.#options.onClosed(wanted)
  }
}

import { findReconnect } from './clients.ts'
import type { Health } from './health.ts'
import { renderInstructions } from './instructions.ts'
import type { Timers } from '../../lib/timers.ts'
import type { Member, View } from './view.ts'

const MAX_KEPT = 5000
/** A client that waits longer for `initialize` may give up on us. */
const PATIENCE_MS = 200

/** What servers said of themselves to each owner, for the owner's next client: the first is answered before they are asked. */
export class Introductions {
  readonly #timers: Timers
  readonly #health: Health
  readonly #known = new Map<string, string>()

  constructor(timers: Timers, health: Health) {
    this.#timers = timers
    this.#health = health
  }

  learn(owner: string, server: string, instructions: string | undefined): void {
    const key = JSON.stringify([owner, server])
    this.#known.delete(key)
    if (instructions === undefined) return
    this.#known.set(key, instructions)
    const [oldest] = this.#known.keys()
    if (this.#known.size > MAX_KEPT && oldest !== undefined) this.#known.delete(oldest)
  }

  /** Instructions from what is known by now; waits for nobody. */
  async render(view: View, clientName: string | undefined): Promise<string> {
    const members = await this.#membersSoon(view)
    const names = new Set(members.map(({ name }) => name))
    const problems = this.#health.list().filter(({ server }) => names.has(server))
    const servers = members.map(({ name, description }) => ({
      name,
      description,
      instructions: this.#known.get(JSON.stringify([view.owner, name])),
    }))
    return renderInstructions(
      view.instructions,
      servers,
      problems
        .slice(0, 10)
        .map(({ server, problem, owner }) => ({ server, reason: owner === view.owner ? problem : 'it fails for others' })),
      findReconnect(clientName),
    )
  }

  async #membersSoon(view: View): Promise<readonly Member[]> {
    const { promise, resolve } = Promise.withResolvers<readonly Member[]>()
    const cancel = this.#timers.after(PATIENCE_MS, () => resolve([]))
    view.members().then(resolve, () => resolve([])) // a list of members that cannot be had is refused where it is needed
    try {
      return await promise
    } finally {
      cancel()
    }
  }
}

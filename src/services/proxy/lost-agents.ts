import type { ApiClient } from '../../client/call.ts'
import { saveTunnels } from '../../client/proxies.ts'
import { toAppError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import type { Change, ResourceFeed } from '../../resources/feed.ts'
import type { Clock } from '../../tunnel/clock.ts'
import type { Tunnels } from './tunnels.ts'

export interface LostAgentsOptions {
  tunnels: Pick<Tunnels, 'isConnected' | 'onChange'>
  feed: ResourceFeed
  /** That of this proxy. */
  proxyId: string
  /** That may say what is connected to this proxy. */
  api: ApiClient
  clock: Clock
  log: Logger
}

/** Many agents are lost at once when a network is. */
const SOON_MS = 50
const MAX_AT_ONCE = 500
const AGAIN_MS = 2000
/** After a start of the proxy the agents are on their way back for so long. */
const RETURN_MS = 10_000

/**
 * Takes this proxy off the list of those to which an agent has a tunnel, as soon as its last one has ended: an agent that was killed cannot say so
 * itself, and as long as it is on the list all proxies take its sessions for alive.
 */
export class LostAgents {
  readonly #options: LostAgentsOptions
  readonly #due = new Set<string>()
  readonly #unsubscribe: () => void
  readonly #cancelScan: () => void
  #cancel = (): void => {}
  #isWaiting = false
  #telling: Promise<void> | undefined
  #isClosed = false

  constructor(options: LostAgentsOptions) {
    this.#options = options
    const { tunnels, feed, clock } = options
    tunnels.onChange((hostId) => {
      if (!tunnels.isConnected(hostId)) this.#add(hostId)
    })
    this.#unsubscribe = feed.subscribe((change) => this.#apply(change))
    this.#cancelScan = clock.after(RETURN_MS, () => {
      for (const { metadata } of feed.list('host')) if (this.#isWronglyListed(metadata.name)) this.#add(metadata.name)
    })
  }

  /** What is not said by now is said by the next agents that come, or ends with the announcement of this proxy. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#unsubscribe()
    this.#cancelScan()
    this.#cancel()
    await this.#telling
  }

  /** What an agent said before its tunnel ended may come after. */
  #apply(change: Change): void {
    if (change.type !== 'revoked' && change.kind === 'host' && this.#isWronglyListed(change.name)) this.#add(change.name)
  }

  #isWronglyListed(hostId: string): boolean {
    const { tunnels, feed, proxyId } = this.#options
    return !tunnels.isConnected(hostId) && feed.find('host', hostId)?.status.proxy_ids?.includes(proxyId) === true
  }

  #add(hostId: string): void {
    this.#due.add(hostId)
    this.#wait(SOON_MS)
  }

  #wait(ms: number): void {
    if (this.#isWaiting || this.#isClosed || this.#telling) return
    this.#isWaiting = true
    this.#cancel = this.#options.clock.after(ms, () => {
      this.#isWaiting = false
      this.#telling = this.#tell().then((waitMs) => {
        this.#telling = undefined
        if (this.#due.size > 0) this.#wait(waitMs)
      })
    })
  }

  /** Never rejects; gives how long to wait before the next, ms. */
  async #tell(): Promise<number> {
    const { tunnels, api, log } = this.#options
    const agents = new Map([...this.#due].slice(0, MAX_AT_ONCE).map((hostId) => [hostId, tunnels.isConnected(hostId)]))
    for (const hostId of agents.keys()) this.#due.delete(hostId)
    try {
      await saveTunnels(api, agents)
    } catch (thrown) {
      for (const hostId of agents.keys()) this.#due.add(hostId)
      log.warn('the cluster could not be told of agents that were lost: trying again', { error: toAppError(thrown) })
      return AGAIN_MS
    }
    // One that came back while this was under way may have said so before it was taken off.
    for (const [hostId, wasConnected] of agents) if (tunnels.isConnected(hostId) !== wasConnected) this.#due.add(hostId)
    return SOON_MS
  }
}

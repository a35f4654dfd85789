import type { Duplex } from 'node:stream'
import type { ProxyAddress } from '../../client/proxy-address.ts'
import { renderProxyAddress } from '../../client/proxy-address.ts'
import type { Logger } from '../../lib/log.ts'
import type { ResourceFeed } from '../../resources/feed.ts'
import type { Clock } from '../../tunnel/clock.ts'
import { type Backoff, keepTunnel, type KeptTunnel } from '../../tunnel/dial.ts'
import type { ExchangeTarget } from '../../tunnel/exchange.ts'
import { placeOf } from '../../tunnel/place.ts'
import { type KnownProxy, listProxies } from './known-proxies.ts'

export interface ProxyTunnelsOptions {
  feed: ResourceFeed
  /** What the configuration says: of one proxy, or of a load balancer in front of several. */
  wayIn: ProxyAddress
  /** How an address that a proxy announces is reached from here. */
  reach: (address: ProxyAddress) => ProxyAddress
  /** A connection to a proxy that was authenticated; heeds the signal. */
  connect(proxy: ProxyAddress, signal: AbortSignal): Promise<Duplex>
  target: ExchangeTarget
  /** Told of the proxies that have a tunnel, by their ids, after that changed. */
  onChange(proxyIds: readonly string[]): void
  backoff?: Partial<Backoff>
  random: () => number
  clock: Clock
  log: Logger
}

/** All agents hear of a new proxy at the same moment. */
const SPREAD_MS = 1500
const GRACE_MS = 10_000

/** The tunnel to one proxy. */
interface Way {
  /** Undefined while no proxy has told of itself: then whichever answers. */
  proxy: KnownProxy | undefined
  /** It tells of itself no more: a tunnel that works is used until it breaks, or the proxy drains it, and no other follows. */
  isGone: boolean
  /** Where it led the last time. */
  place: string | undefined
  isOpen: boolean
  /** Of its addresses, those that failed since one did not. */
  failed: number
  /** Undefined until its turn to dial has come. */
  kept: KeptTunnel | undefined
  cancel: () => void
}

/** Keeps a tunnel to each proxy that has told of itself, and dials those no more that are gone. */
export class ProxyTunnels {
  readonly #options: ProxyTunnelsOptions
  readonly #ways = new Set<Way>()
  /** Being let go of. */
  readonly #leaving = new Set<Promise<void>>()
  readonly #unsubscribe: () => void
  #isClosed = false

  constructor(options: ProxyTunnelsOptions) {
    this.#options = options
    this.#reconcile(0)
    this.#unsubscribe = options.feed.subscribe((change) => {
      if (change.type !== 'revoked' && change.kind === 'proxy') this.#reconcile(SPREAD_MS)
    })
  }

  /** The ids of proxies that have a tunnel now. */
  connected(): string[] {
    return [...this.#ways].flatMap(({ proxy, isOpen }) => (proxy && isOpen ? [proxy.id] : [])).toSorted()
  }

  /** Lets the exchanges under way end, for at most `graceMs`, then cuts. Safe to call twice. */
  async close(graceMs = GRACE_MS): Promise<void> {
    this.#isClosed = true
    this.#unsubscribe()
    for (const way of this.#ways) this.#leave(way, graceMs)
    await Promise.all(this.#leaving)
  }

  #reconcile(spreadMs: number): void {
    if (this.#isClosed) return
    const proxies = listProxies(this.#options.feed)
    // What was there goes on when nobody tells of itself.
    if (proxies.length === 0) {
      if (this.#ways.size === 0) this.#add(undefined, 0)
      return
    }
    const before = this.connected().join()
    for (const way of this.#ways) {
      const { proxy } = way
      const known = proxies.find(({ id }) =>
        proxy ? id === proxy.id : (way.place === undefined || way.place === placeOf(id)) && !this.#find(id),
      )
      if (known) way.proxy = known
      way.isGone = !known
      if (way.isGone && !way.isOpen) this.#leave(way, GRACE_MS)
    }
    for (const proxy of proxies) if (!this.#find(proxy.id)) this.#add(proxy, spreadMs)
    if (this.connected().join() !== before) this.#options.onChange(this.connected())
  }

  #find(id: string): Way | undefined {
    return [...this.#ways].find(({ proxy }) => proxy?.id === id)
  }

  #add(proxy: KnownProxy | undefined, spreadMs: number): void {
    const { clock, random } = this.#options
    const way: Way = { proxy, isGone: false, place: undefined, isOpen: false, failed: 0, kept: undefined, cancel: () => {} }
    this.#ways.add(way)
    if (spreadMs === 0) way.kept = this.#keep(way)
    else way.cancel = clock.after(random() * spreadMs, () => (way.kept = this.#keep(way)))
  }

  #leave(way: Way, graceMs: number): void {
    this.#ways.delete(way)
    way.cancel()
    const left = way.kept?.close(graceMs)
    if (!left) return
    this.#leaving.add(left)
    void left.finally(() => this.#leaving.delete(left))
  }

  #keep(way: Way): KeptTunnel {
    const { connect, target, backoff, random, clock, log } = this.#options
    return keepTunnel({
      connect: (signal) => connect(this.#addressOf(way), signal),
      target,
      isMeant: (place) => {
        way.place = place
        // The only one there is may be older than this word.
        return way.proxy === undefined || place === placeOf(way.proxy.id) || (place === undefined && this.#ways.size === 1)
      },
      onState: ({ phase }) => this.#note(way, phase),
      ...(backoff && { backoff }),
      random,
      clock,
      log,
    })
  }

  #note(way: Way, phase: string): void {
    if (phase === 'waiting') way.failed += 1
    const isOpen = phase === 'open'
    if (way.isOpen === isOpen) return
    way.isOpen = isOpen
    if (!isOpen && way.isGone) this.#leave(way, GRACE_MS)
    if (!this.#isClosed) this.#options.onChange(this.connected())
  }

  /**
   * The address that worked; another one after each failure. The way in leads to the only proxy for sure, to one of several by chance; an address that
   * is of another network is not waited for again and again.
   */
  #addressOf({ proxy, failed }: Way): ProxyAddress {
    const { wayIn, reach } = this.#options
    if (!proxy?.address || renderProxyAddress(proxy.address) === renderProxyAddress(wayIn)) return wayIn
    const ways = this.#ways.size === 1 ? [wayIn, reach(proxy.address)] : [reach(proxy.address), wayIn, wayIn, wayIn]
    return ways[failed % ways.length] ?? wayIn
  }
}

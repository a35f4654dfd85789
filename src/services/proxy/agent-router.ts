import { AppError } from '../../lib/errors.ts'
import { isModern } from '../../mcp/eras/revisions.ts'
import { findRequestId } from '../../mcp/message.ts'
import { Outlet } from '../../mcp/outlet.ts'
import { databaseServerName } from '../../resources/db-app.ts'
import type { Change, ResourceFeed } from '../../resources/feed.ts'
import type { Clock } from '../../tunnel/clock.ts'
import type { Exchange, ExchangeTarget } from '../../tunnel/exchange.ts'
import { findTag } from '../../tunnel/session-tag.ts'
import { type Candidate, chooseAgent } from './choose-agent.ts'
import { type Offer, Offers } from './offers.ts'
import type { Tunnels } from './tunnels.ts'

export interface AgentRouterOptions {
  /** The agent of this process. */
  local: { serves: (server: string) => boolean; target: ExchangeTarget } | undefined
  /** Of this process: of the proxy, and of the agent in it. */
  hostId: string
  tunnels: Tunnels
  feed: ResourceFeed
  clock: Clock
  /** Milliseconds since 1970. */
  now: () => number
}

/** A session whose agent was lost just now waits so long for it to come back; so does what only an agent on its way to this proxy can take. */
const HOLD_MS = 3000
const RECENTLY_MS = 10_000
/** An agent says once a minute where it is connected. */
const SEEN_MS = 100_000
const MAX_HELD = 1000
const MAX_HELD_BYTES = 64 * 1024 * 1024

interface Held {
  exchange: Exchange
  /** Any of them will do. */
  hostIds: ReadonlySet<string>
  next: () => void
  cancel: () => void
}

/** Which agent an exchange goes to: the one that has the session, else one of those that serve the server. */
export class AgentRouter {
  readonly #options: AgentRouterOptions
  readonly #offers: Offers
  readonly #startedAt: number
  readonly #held = new Set<Held>()
  #heldBytes = 0
  /** Of what was sent to another agent after the first did not take it. */
  readonly #retried = new WeakSet<Exchange>()

  constructor(options: AgentRouterOptions) {
    this.#options = options
    this.#startedAt = options.clock.now()
    this.#offers = new Offers(options.feed)
    options.tunnels.onChange((hostId) => this.#release(hostId))
    options.feed.subscribe((change) => this.#apply(change))
  }

  /** Hands an exchange to its agent; never throws. */
  readonly target: ExchangeTarget = (exchange) => {
    const { local, tunnels } = this.#options
    // The one process has no tunnels: nothing is looked up.
    if (local?.serves(exchange.server) && tunnels.isEmpty && this.#held.size === 0 && !isRemote(exchange)) return local.target(exchange)
    const sessionId = sessionIdOf(exchange)
    if (sessionId === undefined) return this.#begin(exchange, true)
    const tag = findTag(sessionId)
    if (tag === undefined) return local ? local.target(exchange) : refuse(exchange, gone())
    this.#continue(exchange, this.#offers.hostOfTag(tag))
  }

  /** What a tunnel could not carry: to another agent, if nothing was carried out and no session says otherwise. */
  fail(exchange: Exchange, error: AppError): void {
    if (error.details?.['carried_out'] !== 'no' || this.#retried.has(exchange)) return refuse(exchange, error)
    this.#retried.add(exchange)
    this.target(exchange)
  }

  /** What a host may not serve any more ends there, too, where it is under way. */
  #apply(change: Change): void {
    if (change.type === 'revoked') return
    if (change.kind === 'host') this.#cut(undefined, change.name)
    if (change.kind === 'app') this.#cut(change.name)
    if (change.kind === 'db') this.#cut(databaseServerName(change.name))
  }

  #cut(server: string | undefined, host?: string): void {
    const verdicts = new Map<string, boolean>()
    this.#options.tunnels.cut((exchange, hostId) => {
      if (server !== undefined && exchange.server !== server) return undefined
      const key = `${hostId} ${exchange.server}`
      const mayGoOn = verdicts.get(key) ?? this.#offers.mayGoOn(exchange.server, hostId)
      verdicts.set(key, mayGoOn)
      if (mayGoOn) return undefined
      return sessionIdOf(exchange) === undefined ? notAllowed(exchange.server) : gone()
    }, host)
  }

  #continue(exchange: Exchange, hostId: string | undefined): void {
    const { tunnels, clock } = this.#options
    if (hostId === undefined) return refuse(exchange, gone())
    if (!this.#offers.mayGoOn(exchange.server, hostId)) return refuse(exchange, gone())
    const tunnel = tunnels.find(hostId)
    if (tunnel) return tunnel.target(exchange)
    // After a start of the proxy the agents are on their way back.
    const isMissed = (tunnels.lostForMs(hostId) ?? clock.now() - this.#startedAt) <= RECENTLY_MS
    if (!isMissed && !this.#isElsewhere(hostId)) return refuse(exchange, gone())
    // Which of the two it is may be known only by the end of the wait.
    const refusal = (): AppError => (this.#isElsewhere(hostId) ? sessionElsewhere() : gone())
    this.#hold(exchange, new Set([hostId]), () => this.#continue(exchange, hostId), refusal)
  }

  #begin(exchange: Exchange, mayWait: boolean): void {
    const { local, hostId: ownId } = this.#options
    const offers = this.#offers.of(exchange.server)
    const candidates = this.#candidatesAmong(offers)
    const own = offers.get(ownId)
    const key = isModern(exchange.headers['mcp-protocol-version'] ?? '') ? `${callerOf(exchange)} ${exchange.server}` : undefined
    const here = local?.serves(exchange.server) && { hostId: ownId, target: local.target, health: own?.health, load: 0 }
    // Without a hop, unless its server does worse.
    const chosen = here && chooseAgent([here, ...candidates], undefined) === here ? here : chooseAgent(candidates, key)
    if (chosen) return chosen.target(exchange)
    const onTheirWay = new Set([...offers.values()].filter((offer) => this.#offers.mayServe(offer)).map(({ hostId }) => hostId))
    const refusal = (): AppError => this.#noAgent(exchange.server)
    if (mayWait && [...onTheirWay].some((id) => this.#isElsewhere(id)))
      this.#hold(exchange, onTheirWay, () => this.#begin(exchange, false), refusal)
    else refuse(exchange, refusal())
  }

  /** Why nobody takes an exchange, as it is now. */
  #noAgent(server: string): AppError {
    const offers = [...this.#offers.of(server).values()]
    const isElsewhere = offers.some((offer) => this.#offers.mayServe(offer) && this.#isElsewhere(offer.hostId))
    return noAgent(server, offers.length === 0 ? 'none' : isElsewhere ? 'elsewhere' : 'away')
  }

  #candidatesAmong(offers: ReadonlyMap<string, Offer>): Candidate[] {
    const found: Candidate[] = []
    for (const offer of offers.values()) {
      const tunnel = this.#options.tunnels.find(offer.hostId)
      if (!tunnel || !this.#offers.mayServe(offer)) continue
      found.push({ hostId: offer.hostId, target: tunnel.target, health: offer.health, load: tunnel.load() })
    }
    return found
  }

  /** Whether an agent says that it is connected to another proxy, or runs in the process of one. */
  #isElsewhere(hostId: string): boolean {
    const { feed, hostId: ownId, now } = this.#options
    const { proxy_ids, last_seen } = feed.find('host', hostId)?.status ?? {}
    const ids = last_seen !== undefined && now() - Date.parse(last_seen) <= SEEN_MS ? (proxy_ids ?? []) : []
    return [...ids, hostId].some((id) => id !== ownId && feed.find('proxy', id) !== undefined)
  }

  /** Until one of the agents is there, but not for long. */
  #hold(exchange: Exchange, hostIds: ReadonlySet<string>, next: () => void, refusal: () => AppError): void {
    if (this.#held.size >= MAX_HELD || this.#heldBytes + exchange.body.byteLength > MAX_HELD_BYTES) return refuse(exchange, refusal())
    const cancel = this.#options.clock.after(HOLD_MS, () => this.#letGo(held, () => refuse(exchange, refusal())))
    const held = { exchange, hostIds, next, cancel }
    this.#held.add(held)
    this.#heldBytes += exchange.body.byteLength
  }

  #release(hostId: string): void {
    if (!this.#options.tunnels.isConnected(hostId)) return
    for (const held of this.#held) if (held.hostIds.has(hostId)) this.#letGo(held, held.next)
  }

  #letGo(held: Held, next: () => void): void {
    if (!this.#held.delete(held)) return
    this.#heldBytes -= held.exchange.body.byteLength
    held.cancel()
    if (!held.exchange.signal.aborted) next()
  }
}

/** Of Streamable HTTP in a header; of the transport of 2024-11-05 in the query. */
function sessionIdOf({ headers, path }: Exchange): string | undefined {
  const inHeader = headers['mcp-session-id']
  if (inHeader !== undefined) return inHeader
  const query = path.indexOf('?')
  return query === -1 ? undefined : (new URLSearchParams(path.slice(query + 1)).get('sessionId') ?? undefined)
}

/** Whether its session is that of an agent on another machine. */
function isRemote(exchange: Exchange): boolean {
  const sessionId = sessionIdOf(exchange)
  return sessionId !== undefined && findTag(sessionId) !== undefined
}

/** Who calls, from where: whose requests without a session go to one agent. Not verified, and nothing is decided by it. */
function callerOf({ assertion, remoteAddress }: Exchange): string {
  const claims = Buffer.from(assertion.split('.')[1] ?? '', 'base64url').toString('latin1')
  return `${/"sub":"([^"]*)"/.exec(claims)?.[1] ?? ''} ${remoteAddress}`
}

/** As an agent says it of a session that it does not know: every client begins a new one then. */
function gone(): AppError {
  const message = 'unknown MCP session: the agent that had it is gone. Initialize again, another one may take over'
  return new AppError('not_found', message, { details: { rpc: -32001 } })
}

/** Of a request that belongs to no session. */
function notAllowed(server: string): AppError {
  return new AppError('unavailable', `the host that served MCP server "${server}" may not do so any more: try again, another may`)
}

/** The session is still there: a client that begins a new one would lose it. */
function sessionElsewhere(): AppError {
  return new AppError(
    'unavailable',
    'the agent that has this MCP session is connected to another proxy of the cluster, and not to this one: try again in a moment',
  )
}

const WHY = {
  none: 'no agent serves it',
  away: 'the agents that serve it are not connected',
  elsewhere: 'the agents that serve it are connected to another proxy of the cluster, and not to this one',
}

function noAgent(server: string, why: keyof typeof WHY): AppError {
  return new AppError(
    'unavailable',
    `MCP server "${server}" cannot be reached now: ${WHY[why]}. Check that an agent runs whose app_service selects it (tctl get app_servers)`,
  )
}

function refuse(exchange: Exchange, error: AppError): void {
  void new Outlet(exchange, {}).fail(error, findRequestId(exchange.body))
}

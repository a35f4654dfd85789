import { createHash } from 'node:crypto'
import { AppError } from '../../lib/errors.ts'
import { isModern } from '../../mcp/eras/revisions.ts'
import { findRequestId } from '../../mcp/message.ts'
import { Outlet } from '../../mcp/outlet.ts'
import { databaseServerName } from '../../resources/db-app.ts'
import type { Change, ResourceFeed } from '../../resources/feed.ts'
import type { Clock } from '../../tunnel/clock.ts'
import type { Exchange, ExchangeTarget } from '../../tunnel/exchange.ts'
import type { ProxyTunnel } from '../../tunnel/proxy-tunnel.ts'
import { findTag, tagOf } from '../../tunnel/session-tag.ts'
import type { Tunnels } from './tunnels.ts'

export interface AgentRouterOptions {
  /** The agent of this process. */
  local: { serves: (server: string) => boolean; target: ExchangeTarget } | undefined
  tunnels: Tunnels
  feed: ResourceFeed
  clock: Clock
}

/** A session of an agent that was lost just now waits so long for it to come back. */
const HOLD_MS = 3000
const RECENTLY_MS = 10_000
const MAX_TAGS = 20_000
const MAX_HELD = 1000
const MAX_HELD_BYTES = 64 * 1024 * 1024

interface Held {
  exchange: Exchange
  hostId: string
  cancel: () => void
}

/** Which agent an exchange goes to: the one that has the session, else one of those that serve the server. */
export class AgentRouter {
  readonly #options: AgentRouterOptions
  /** Server → hosts that offer it. */
  readonly #hosts = new Map<string, Set<string>>()
  /** Kind and name of a heartbeat → what it says. */
  readonly #offers = new Map<string, { server: string; hostId: string }>()
  /** What the ids of a host's sessions end in → the host. */
  readonly #tags = new Map<string, string>()
  readonly #startedAt: number
  readonly #held = new Set<Held>()
  #heldBytes = 0
  /** Of what was sent to another agent after the first did not take it. */
  readonly #retried = new WeakSet<Exchange>()

  constructor(options: AgentRouterOptions) {
    this.#options = options
    this.#startedAt = options.clock.now()
    for (const kind of OFFERS) for (const { metadata } of options.feed.list(kind)) this.#note(kind, metadata.name)
    options.feed.subscribe((change) => this.#apply(change))
    options.tunnels.onChange((hostId) => this.#release(hostId))
  }

  /** Hands an exchange to its agent; never throws. */
  readonly target: ExchangeTarget = (exchange) => {
    const { local, tunnels } = this.#options
    // The one process has no tunnels: nothing is looked up.
    if (local?.serves(exchange.server) && tunnels.isEmpty && this.#held.size === 0 && !isRemote(exchange)) return local.target(exchange)
    const sessionId = sessionIdOf(exchange)
    if (sessionId === undefined) return this.#begin(exchange)
    const tag = findTag(sessionId)
    if (tag === undefined) return local ? local.target(exchange) : gone(exchange)
    this.#continue(exchange, this.#tags.get(tag))
  }

  /** What a tunnel could not carry: to another agent, if nothing was carried out and no session says otherwise. */
  fail(exchange: Exchange, error: AppError): void {
    if (error.details?.['carried_out'] !== 'no' || this.#retried.has(exchange)) return refuse(exchange, error)
    this.#retried.add(exchange)
    this.target(exchange)
  }

  #continue(exchange: Exchange, hostId: string | undefined): void {
    const { tunnels, clock } = this.#options
    const tunnel = hostId === undefined ? undefined : tunnels.find(hostId)
    if (tunnel) return tunnel.target(exchange)
    // After a start of the proxy the agents are on their way back.
    const isMissed = hostId !== undefined && (tunnels.lostForMs(hostId) ?? clock.now() - this.#startedAt) <= RECENTLY_MS
    if (isMissed) this.#hold(exchange, hostId)
    else gone(exchange)
  }

  #begin(exchange: Exchange): void {
    const { local, tunnels } = this.#options
    const hosts = this.#hosts.get(exchange.server) ?? NONE
    if (local?.serves(exchange.server)) return local.target(exchange)
    const found: [string, ProxyTunnel][] = []
    for (const hostId of hosts) {
      const tunnel = tunnels.find(hostId)
      if (tunnel) found.push([hostId, tunnel])
    }
    const chosen = isModern(exchange.headers['mcp-protocol-version'] ?? '') ? byAddress(exchange, found) : leastLoaded(found)
    if (chosen) return chosen.target(exchange)
    refuse(exchange, noAgent(exchange.server, hosts.size > 0))
  }

  /** Until the agent is there again, but not for long. */
  #hold(exchange: Exchange, hostId: string): void {
    if (this.#held.size >= MAX_HELD || this.#heldBytes + exchange.body.byteLength > MAX_HELD_BYTES) return gone(exchange)
    const cancel = this.#options.clock.after(HOLD_MS, () => this.#letGo(held, () => gone(exchange)))
    const held = { exchange, hostId, cancel }
    this.#held.add(held)
    this.#heldBytes += exchange.body.byteLength
  }

  #release(hostId: string): void {
    const { tunnels } = this.#options
    if (!tunnels.isConnected(hostId)) return
    for (const held of this.#held) {
      if (held.hostId === hostId) this.#letGo(held, () => this.#continue(held.exchange, hostId))
    }
  }

  #letGo(held: Held, next: () => void): void {
    if (!this.#held.delete(held)) return
    this.#heldBytes -= held.exchange.body.byteLength
    held.cancel()
    if (!held.exchange.signal.aborted) next()
  }

  #apply(change: Change): void {
    if (change.type === 'revoked') return
    for (const kind of OFFERS) if (change.kind === kind) this.#note(kind, change.name)
  }

  #note(kind: (typeof OFFERS)[number], name: string): void {
    const key = `${kind} ${name}`
    const before = this.#offers.get(key)
    const after = findOffer(this.#options.feed, kind, name)
    if (before?.server === after?.server && before?.hostId === after?.hostId) return
    if (before) {
      const hosts = this.#hosts.get(before.server)
      hosts?.delete(before.hostId)
      if (hosts?.size === 0) this.#hosts.delete(before.server)
    }
    this.#offers.delete(key)
    if (!after) return
    this.#offers.set(key, after)
    const hosts = this.#hosts.get(after.server) ?? new Set()
    this.#hosts.set(after.server, hosts.add(after.hostId))
    if (this.#tags.size >= MAX_TAGS) this.#tags.clear()
    this.#tags.set(tagOf(after.hostId), after.hostId)
  }
}

const OFFERS = ['app_server', 'db_server'] as const

/** What a heartbeat offers, by whom. */
function findOffer(feed: ResourceFeed, kind: (typeof OFFERS)[number], name: string): { server: string; hostId: string } | undefined {
  if (kind === 'db_server') {
    const spec = feed.find(kind, name)?.spec
    return spec && { server: databaseServerName(spec.database.metadata.name), hostId: spec.host_id }
  }
  const spec = feed.find(kind, name)?.spec
  return spec && { server: spec.app.metadata.name, hostId: spec.host_id }
}

const NONE: ReadonlySet<string> = new Set()

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

function leastLoaded(found: readonly [string, ProxyTunnel][]): ProxyTunnel | undefined {
  let best: ProxyTunnel | undefined
  for (const [, tunnel] of found) if (!best || tunnel.load() < best.load()) best = tunnel
  return best
}

/** Requests of one client without a session go to one agent as long as it is there: what it remembers between two of them is there. */
function byAddress({ remoteAddress, server }: Exchange, found: readonly [string, ProxyTunnel][]): ProxyTunnel | undefined {
  if (found.length <= 1) return found[0]?.[1]
  const weigh = (hostId: string): string => createHash('sha256').update(`${remoteAddress} ${server} ${hostId}`).digest('hex')
  return found.map(([hostId, tunnel]) => ({ weight: weigh(hostId), tunnel })).reduce((a, b) => (a.weight > b.weight ? a : b)).tunnel
}

/** As an agent says it of a session that it does not know: every client begins a new one then. */
function gone(exchange: Exchange): void {
  const message = 'unknown MCP session: the agent that had it is gone. Initialize again, another one may take over'
  refuse(exchange, new AppError('not_found', message, { details: { rpc: -32001 } }))
}

function noAgent(server: string, isOffered: boolean): AppError {
  const why = isOffered ? 'the agents that serve it are not connected' : 'no agent serves it'
  return new AppError(
    'unavailable',
    `MCP server "${server}" cannot be reached now: ${why}. Check that an agent runs whose app_service selects it (tctl get app_servers)`,
  )
}

function refuse(exchange: Exchange, error: AppError): void {
  void new Outlet(exchange, {}).fail(error, findRequestId(exchange.body))
}

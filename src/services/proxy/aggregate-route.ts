import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { ApiClient } from '../../client/call.ts'
import type { BodyRoom } from '../../lib/body-room.ts'
import { AppError, toAppError } from '../../lib/errors.ts'
import type { HttpExchange } from '../../lib/http-exchange.ts'
import type { PlainRequest } from '../../lib/http-wire/plain-request.ts'
import type { Route } from '../../lib/http-wire/server-connection.ts'
import type { WireExchange } from '../../lib/http-wire/wire-exchange.ts'
import type { Ids } from '../../lib/ids.ts'
import type { Logger } from '../../lib/log.ts'
import { AggregateEndpoint } from '../../mcp/aggregate/endpoint.ts'
import type { HealthRecord } from '../../mcp/aggregate/health.ts'
import { realTimers, type Timers } from '../../lib/timers.ts'
import type { SessionShelf } from '../../mcp/aggregate/session-shelf.ts'
import type { View } from '../../mcp/aggregate/view.ts'
import { idleMsOf, type McpLimits } from '../../mcp/limits-schema.ts'
import { findRequestId } from '../../mcp/message.ts'
import { Outlet } from '../../mcp/outlet.ts'
import { SseDoor } from '../../mcp/sse-door.ts'
import type { ResourceFeed } from '../../resources/feed.ts'
import { findMcpEndpoint, renderMcpEndpoint } from '../../resources/mcp-endpoint.ts'
import type { McpSet } from '../../resources/mcp-set.ts'
import type { ExchangeTarget } from '../../tunnel/exchange.ts'
import { type AggregateCaller, AggregateCallers } from './aggregate-callers.ts'
import { createView, ownerAt } from './aggregate-view.ts'
import { AggregateWatch } from './aggregate-watch.ts'
import type { Assertions } from './assertions.ts'
import { answeredSoon } from './deadline.ts'
import type { DpopProofs } from './dpop.ts'
import { ExposedNames } from './exposed-names.ts'
import type { ForeignHeaders } from './foreign-headers.ts'
import { type Asked, askedBy } from './challenge.ts'
import { BoundAssertions, isAssertion } from './bound-assertions.ts'
import { refuse, refuseExchange } from './mcp-route.ts'
import { senderByOwner } from './body-sender.ts'
import { headersForAgent, readExchange } from './node-exchange.ts'
import { bearerOf, boundOf, isBound, readBearer } from './presented.ts'
import { RoutedExchange } from './routed-exchange.ts'
import { createSessionShelf } from './session-shelf.ts'

export interface AggregateOptions {
  assertions: Assertions
  /** As for assertions: a client that calls with the caller's own credential. */
  clientFor(token: string, remoteAddress: string, endpoint: string): ApiClient
  /** The Auth Service with the proxy's own identity, which may give names and nothing else here. */
  api: ApiClient
  feed: ResourceFeed
  target: ExchangeTarget
  /** Tokens of other issuers do not travel on from here either: an agent could use them elsewhere. */
  foreign: Pick<ForeignHeaders, 'names'>
  maxRequestBytes: number
  /** For the bodies of all requests. */
  room: BodyRoom
  /** Of tokens that are bound to a key. */
  proofs: DpopProofs
  /** Of all sessions here. */
  limits: McpLimits
  /** Of this program. */
  version: string
  now: () => number
  timers?: Timers
  ids: Ids
  /** Calls with each name under which something else is kept of sessions; without it they are of this process alone. */
  onSessionKept?: SessionShelf['onKept']
  /** 32 bytes that seal cursors. */
  key: Uint8Array
  log: Logger
}

const SWEEP_MS = 100
/** Views that are kept of one caller. */
const MAX_VIEWS = 64
const ASSERTION_HINT =
  'what you sent is for one server: use its URL, or come with "tsh mcp connect --all", or with an API token ("tsh api-tokens add NAME")'

/** What a path names: all servers, or the set of that name; undefined when it is neither. */
export function findAggregate(path: string): { set: string | undefined } | undefined {
  const endpoint = findMcpEndpoint(path)
  if (!endpoint || endpoint.type === 'app') return undefined
  return { set: endpoint.type === 'set' ? endpoint.name : undefined }
}

/** The path at which tokens are shown. */
function endpointOf(set: string | undefined): string {
  return renderMcpEndpoint(set === undefined ? { type: 'all' } : { type: 'set', name: set })
}

/** Somebody with a credential, at one URL. */
interface Visitor {
  caller: AggregateCaller
  token: string
  remoteAddress: string
  /** That the URL names. */
  set: string | undefined
}

/**
 * All MCP servers a caller may use as one, at `/mcp` and `/mcp/sets/NAME`. It decides nothing about access: every message goes to the
 * agent in front of its server, with the caller's route assertion for that server alone.
 */
export class Aggregate {
  readonly #options: AggregateOptions
  readonly #callers: AggregateCallers
  readonly #names: ExposedNames
  readonly #endpoint: AggregateEndpoint
  readonly #door: SseDoor<Visitor>
  readonly #watch: AggregateWatch
  readonly #sweeping: NodeJS.Timeout
  readonly #bound = new BoundAssertions()
  /** A session keeps its view: one for all sessions of a caller, by what it rests on. */
  readonly #views = new WeakMap<AggregateCaller, Map<string, { set: McpSet | undefined; view: View }>>()

  constructor(options: AggregateOptions) {
    const { version, now, timers = realTimers, ids, key, log, feed, limits, onSessionKept } = options
    this.#options = options
    this.#callers = new AggregateCallers(options)
    this.#names = new ExposedNames(options.api, timers)
    this.#endpoint = new AggregateEndpoint({
      name: 'sallyport',
      version,
      now,
      timers,
      ids,
      key,
      log,
      shelf: onSessionKept && createSessionShelf(options.api, onSessionKept, timers),
      limits: { sessions: limits.sessions, sessionsPerOwner: limits.sessions_per_user, idleMs: idleMsOf(limits) },
    })
    this.#door = this.#createDoor()
    this.#watch = new AggregateWatch({ endpoint: this.#endpoint, callers: this.#callers, feed, log })
    this.#sweeping = setInterval(() => this.#endpoint.sweep(), SWEEP_MS).unref()
  }

  /** Answers a request of an MCP client; never throws. */
  async serve(request: IncomingMessage, response: ServerResponse, set: string | undefined): Promise<void> {
    try {
      const bound = isBound(request) ? await boundOf(request, response, this.#options.proofs) : undefined
      const token = bound?.credential ?? this.#bound.credentialOf(bearerOf(request), request.socket)
      const visitor = await this.#visitorOf(token, request.socket.remoteAddress ?? '', set)
      await bound?.use()
      const { promise, resolve, reject } = Promise.withResolvers<HttpExchange>()
      const { foreign, maxRequestBytes: maxBytes, room } = this.#options
      const sender = (): string => senderByOwner(visitor.caller.owner)
      readExchange(request, response, { maxBytes, room, sender }, { keptBack: () => foreign.names, onExchange: resolve, onFault: reject })
      await this.#door.serve(await promise, visitor)
      // An event stream goes on for hours, and nobody reads the head of its request again.
      if (!response.writableEnded) forgetHead(request)
    } catch (thrown) {
      refuse(request, response, toAppError(thrown), this.#options.log)
    }
  }

  /** The same for requests of our own server. @throws AppError unauthenticated, to be said by the other; a proof of a key is its business too. */
  routeOf(head: PlainRequest, socket: Socket, set: string | undefined): Route {
    const token = this.#bound.credentialOf(readBearer(head.headers['authorization']), socket)
    const { foreign } = this.#options
    const { names } = foreign
    let owner: string | undefined
    return {
      isCurrent: () => foreign.names === names,
      headers: headersForAgent(head.headers, names),
      maxBodyBytes: this.#options.maxRequestBytes,
      admit: (remoteAddress) =>
        this.#visitorOf(token, remoteAddress, set).then(
          ({ caller }) => void (owner = caller.owner),
          (thrown: unknown) => toAppError(thrown),
        ),
      sender: () => senderByOwner(owner),
      refuse: (exchange, error) => refuseExchange(exchange, askedBy(head, socket), error, this.#options.log),
      serve: (exchange) => void this.#serveExchange(exchange, token, set, askedBy(head, socket)),
    }
  }

  async #serveExchange(exchange: WireExchange, token: string, set: string | undefined, asked: Asked): Promise<void> {
    try {
      const visitor = await this.#visitorOf(token, exchange.remoteAddress, set)
      if (!exchange.isOver) await this.#door.serve(exchange, visitor)
    } catch (thrown) {
      refuseExchange(exchange, asked, toAppError(thrown), this.#options.log)
    }
  }

  /** @throws AppError for somebody or something that is not known here. */
  async #visitorOf(token: string, remoteAddress: string, set: string | undefined): Promise<Visitor> {
    if (isAssertion(token)) throw new AppError('unauthenticated', ASSERTION_HINT)
    const caller = await this.#callers.get(token, remoteAddress, endpointOf(set))
    if (set !== undefined) this.#getSet(set)
    return { caller, token, remoteAddress, set }
  }

  /** What is wrong with servers, for gauges. */
  quarantine(): readonly HealthRecord[] {
    return this.#endpoint.quarantine()
  }

  /** Agents came or went, and with them servers. */
  agentsChanged(): void {
    this.#watch.agentsChanged()
  }

  #createDoor(): SseDoor<Visitor> {
    const { now, ids, log } = this.#options
    return new SseDoor({
      serve: (exchange, visitor) => this.#serve(exchange, visitor),
      ownerOf: ({ caller, set }) => ownerAt(caller.owner, set),
      admits: (visitor) => this.#reasonToLeave(visitor) === undefined,
      reasonToLeave: (visitor) => this.#reasonToLeave(visitor),
      token: () => ids.token(24),
      now,
      log,
    })
  }

  /** A set may have changed or gone since the client's last message. */
  async #serve(exchange: HttpExchange, visitor: Visitor): Promise<void> {
    try {
      await this.#endpoint.serve(exchange, this.#viewOf(visitor))
    } catch (thrown) {
      await this.#fail(exchange, thrown)
    }
  }

  #reasonToLeave({ caller, set }: Visitor): string | undefined {
    const isGone = set !== undefined && !this.#options.feed.find('mcp_set', set)
    return this.#callers.refusalOf(caller.owner) ?? (isGone ? `MCP set "${set}" no longer exists` : undefined)
  }

  /**
   * The same for all requests with the same token from the same address, until the caller or the set is another.
   * @throws AppError not_found for a set that does not exist.
   */
  #viewOf({ caller, token, remoteAddress, set: name }: Visitor): View {
    const set = name === undefined ? undefined : this.#getSet(name)
    const views = this.#views.get(caller) ?? new Map<string, { set: McpSet | undefined; view: View }>()
    this.#views.set(caller, views)
    const key = `${remoteAddress} ${set?.metadata.name ?? ''}`
    const known = views.get(key)
    if (known && known.set === set) return known.view
    const view = createView({
      caller,
      current: () => this.#callers.current(caller, { token: this.#latest(caller, token), remoteAddress, endpoint: endpointOf(name) }),
      refusal: () => this.#callers.refusalOf(caller.owner),
      set,
      currentSet: () => (name === undefined ? undefined : this.#options.feed.find('mcp_set', name)),
      serve: (server) => (exchange) => void this.#forward(exchange, this.#latest(caller, token), server, endpointOf(name)),
      names: this.#names,
    })
    if (views.size >= MAX_VIEWS) views.clear()
    views.set(key, { set, view })
    return view
  }

  /** A session goes on for longer than the token it began with. */
  #latest(caller: AggregateCaller, token: string): string {
    return this.#callers.latestToken(caller.owner) ?? token
  }

  /** Says who calls to the agent in front of one server, and nothing to any other. */
  async #forward(exchange: HttpExchange, token: string, server: string, endpoint: string): Promise<void> {
    const { assertions, target, timers = realTimers } = this.#options
    try {
      const assertion =
        assertions.find(token, server, endpoint) ??
        (await answeredSoon(timers, assertions.get(token, server, exchange.remoteAddress, endpoint)))
      target(new RoutedExchange(exchange, server, assertion))
    } catch (thrown) {
      await this.#fail(exchange, thrown, server)
    }
  }

  async #fail(exchange: HttpExchange, thrown: unknown, server?: string): Promise<void> {
    const error = toAppError(thrown)
    if (error.code === 'internal') this.#options.log.error('MCP request failed', { error, server, ...error.details })
    await new Outlet(exchange, {}).fail(error, findRequestId(exchange.body))
  }

  #getSet(name: string): McpSet {
    const set = this.#options.feed.find('mcp_set', name)
    if (!set) throw new AppError('not_found', `MCP set "${name}" not found`)
    return set
  }

  /** Ends every session and stream: the sessions first, since they know why. */
  async close(): Promise<void> {
    clearInterval(this.#sweeping)
    this.#watch.close()
    await this.#endpoint.close()
    await this.#door.close('the gateway is going down')
    this.#callers.close()
  }
}

/** Names, values and the arrays of them are about 2 KB. */
function forgetHead(request: IncomingMessage): void {
  request.headers = {}
  request.rawHeaders = []
}

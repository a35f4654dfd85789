import { setTimeout as sleep } from 'node:timers/promises'
import type { VerificationKey } from '../../ca/assertion.ts'
import type { ApiClient } from '../../client/call.ts'
import { AppError, toAppError } from '../../lib/errors.ts'
import type { Ids } from '../../lib/ids.ts'
import type { Logger } from '../../lib/log.ts'
import type { Redactor } from '../../lib/redact.ts'
import { openSpool } from '../../audit/spool.ts'
import type { Shipping, Spool } from '../../audit/spool.ts'
import { findRequestId } from '../../mcp/message.ts'
import type { McpMetrics } from '../../mcp/metrics.ts'
import { Outlet } from '../../mcp/outlet.ts'
import type { Upstream } from '../../mcp/upstream/upstream.ts'
import type { App } from '../../resources/app.ts'
import { botUserName } from '../../resources/bot.ts'
import { isRawPath } from '../../resources/db-app.ts'
import type { Change, ResourceFeed } from '../../resources/feed.ts'
import type { Identity } from '../../resources/identity.ts'
import type { Exchange, ExchangeTarget } from '../../tunnel/exchange.ts'
import { AccountTokens } from './account-tokens.ts'
import { Callers } from './callers.ts'
import { type AgentConfig, demoApp } from './config.ts'
import type { DatabasesConfig } from './databases-config.ts'
import type { DynamicLabelOptions } from './dynamic-labels.ts'
import { appServers, Heartbeat } from './heartbeat.ts'
import { IdentityTokens } from './identity-tokens.ts'
import { Refusals } from './refusals.ts'
import { Secrets } from './secrets.ts'
import { type Door, type Served, Servers, type ServersOptions } from './servers.ts'
import { type RunningDatabases, startDatabases } from './start-databases.ts'

export interface AgentOptions {
  config: AgentConfig
  databases: DatabasesConfig
  clusterName: string
  hostId: string
  hostname: string
  version: string
  /** Directory of the audit journal; nobody else's. */
  spoolDirectory: string
  api: ApiClient
  /** Begins to bring what comes into the journal to the Auth Service: by `Spool.ship`, or a thread that reads `Spool.source`. */
  ship(spool: Spool): Shipping
  /** See `Servers`; absent for the agent of the proxy's own process. */
  sessionTag?: string | undefined
  feed: ResourceFeed
  assertionKeys: () => VerificationKey[]
  /** Asks for the keys anew when an assertion names one that is not among them; absent where they are always all there. */
  refreshKeys?: (() => Promise<void>) | undefined
  /** The moment, by the clock of the Auth Service, from which on the feed has told of every change; now, unless given. */
  knownSince?: (() => number) | undefined
  /** How long nothing was heard of the Auth Service, ms; absent where it is in the same process. */
  staleMs?: (() => number | undefined) | undefined
  createUpstream(app: App, readSecret: (name: string) => string | Promise<string>): Upstream
  /** Makes a server of one era of the protocol one for clients of both. */
  bridge(upstream: Upstream, server: string): Upstream
  /** What runs the commands of dynamic labels. */
  labels: DynamicLabelOptions
  redactor: Redactor
  metrics?: McpMetrics | undefined
  ids: Ids
  now: () => number
  /** Milliseconds of a clock that nobody sets. */
  monotonic: () => number
  log: Logger
}

export interface Agent {
  /** Answers exchanges of MCP clients. */
  accept: ExchangeTarget
  /** Whether a server of this name is behind it now. */
  serves(server: string): boolean
  /** Settles when the Auth Service knows what is served now. */
  announced(): Promise<void>
  /** Settles when no request is under way any more, subscriptions aside, or after `ms`: whether none is. */
  drain(ms: number): Promise<boolean>
  /** Ends every session and flushes. Safe to call twice. */
  close(): Promise<void>
}

/** Stands in front of MCP servers: verifies the caller again, decides by roles, records, and forwards. */
export function startAgent(options: AgentOptions): Agent {
  const { feed, log, now, ids } = options
  const spool = openSpool(options.spoolDirectory, { log })
  const shipping = options.ship(spool)
  let isClosed = false
  const { clusterName: cluster, monotonic, redactor, metrics, staleMs, sessionTag } = options
  const callers = new Callers({ ...options, keys: options.assertionKeys })
  const audit = { spool, ids, now, monotonic, cluster, redactor, metrics }
  const offers = appServers((name) => servers.find(name)?.health?.current())
  const heartbeat = new Heartbeat(options, offers, (name, reason) => servers.find(name)?.endpoint.cut(() => reason))
  const tokens = new IdentityTokens(options.api, now)
  const secrets = new Secrets({ api: options.api, feed, redactor, announced: () => heartbeat.settled() })
  const accounts = new AccountTokens(options.api, now)
  const servers = openServers(options, { audit, tokens, secrets, accounts }, heartbeat, callers)
  const databases = startDatabases({ ...options, limits: options.config.mcp_limits, callers, audit, tokens, sessionTag })
  const listAll = (): Served[] => [...servers.list(), ...databases.list()]
  for (const app of feed.list('app')) servers.reconcile(app.metadata.name, app)

  const onChange = (change: Change): void => {
    callers.apply(change)
    if (change.type !== 'revoked' && change.kind === 'app') servers.reconcile(change.name, feed.find('app', change.name))
    databases.apply(change)
    accounts.apply(change)
    if (secrets.apply(change)) servers.secretChanged(change.name)
    if (change.type === 'revoked' || CUTTING.has(change.kind)) cutWhoMayNotStay()
    const concerns = concernedBy(change)
    if (concerns) for (const { endpoint } of listAll()) endpoint.accessChanged(concerns)
  }
  const cutWhoMayNotStay = (): void => {
    for (const { app, endpoint } of listAll()) endpoint.cut((identity) => callers.reasonToCut(identity, app))
    databases.cut((identity, app) => callers.reasonToCut(identity, app))
  }
  const checking = staleMs && setInterval(() => (staleMs() ?? 0) > 0 && cutWhoMayNotStay(), STALE_CHECK_MS).unref()
  const unsubscribe = feed.subscribe(onChange)
  const refusals = new Refusals(audit, log)

  return {
    accept: (exchange) => {
      answer(exchange, findBehind(exchange, servers, databases), callers, refusals).catch((thrown: unknown) =>
        log.error('exchange failed', { error: String(thrown) }),
      )
    },
    serves: (server) => servers.find(server) !== undefined || databases.find(server) !== undefined,
    announced: () => heartbeat.settled().then(() => databases.announced()),
    drain: (ms) => drain(listAll, ms),
    close: async () => {
      if (isClosed) return
      isClosed = true
      clearInterval(checking)
      unsubscribe()
      await heartbeat.close()
      const why = new AppError('unavailable', 'the gateway is shutting down: connect again in a moment')
      await servers.close(why)
      await databases.close(why)
      await spool.flushed().catch((thrown: unknown) => log.error('the audit journal could not be written at the end', { error: thrown }))
      await shipping.close()
      await spool.close()
    },
  }
}

function fixedApps({ enabled, mcp_demo_server, apps }: AgentConfig): App[] {
  if (!enabled) return []
  return mcp_demo_server ? [demoApp(), ...apps] : apps
}

function openServers(
  options: AgentOptions,
  shared: Pick<ServersOptions, 'audit' | 'tokens' | 'secrets' | 'accounts'>,
  heartbeat: Heartbeat<App>,
  callers: Callers,
): Servers {
  const { config, createUpstream, labels, log, sessionTag } = options
  return new Servers({
    ...shared,
    selectors: config.enabled ? config.resources.map((selector) => selector.labels) : [],
    fixed: fixedApps(config),
    createUpstream,
    limits: config.mcp_limits,
    sessionTag,
    log,
    labels,
    allowsCommands: config.allow_dynamic_commands,
    onHealth: (name) => heartbeat.touch(name),
    onChange: (name, entry) => {
      if (!entry) return heartbeat.withdraw(name)
      heartbeat.announce(entry.app)
      // Another label may be one that somebody may not use, or on which rules about tools rest.
      entry.endpoint.cut((identity) => callers.reasonToCut(identity, entry.app))
      entry.endpoint.accessChanged(() => true)
    },
  })
}

const DRAIN_POLL_MS = 20
/** Of an agent that hears nothing of the Auth Service. */
const STALE_CHECK_MS = 30_000

async function drain(list: () => Served[], ms: number): Promise<boolean> {
  const isBusy = (): boolean => list().some(({ endpoint }) => endpoint.isBusy)
  for (let left = ms; left > 0 && isBusy(); left -= DRAIN_POLL_MS) await sleep(DRAIN_POLL_MS)
  return !isBusy()
}

/** Changes after which somebody may have to leave. */
const CUTTING: ReadonlySet<string> = new Set(['lock', 'user', 'bot', 'role', 'cluster_auth_preference'])

/** Who may see other lists after a change than before; nobody when it is undefined. */
function concernedBy(change: Change): ((identity: Identity) => boolean) | undefined {
  if (change.type === 'revoked') return undefined
  if (change.kind === 'role') return ({ roles }) => roles.includes(change.name)
  if (change.kind === 'user') return ({ kind, name }) => kind === 'user' && name === change.name
  if (change.kind === 'bot') return ({ kind, name }) => kind === 'bot' && name === botUserName(change.name)
  return change.kind === 'cluster_auth_preference' ? () => true : undefined
}

/** What an exchange is for. */
interface Behind {
  app: App
  door: Door
}

function findBehind({ server, path }: Exchange, servers: Servers, databases: RunningDatabases): Behind | undefined {
  const served = servers.find(server) ?? databases.find(server)
  const door = isRawPath(path) ? databases.rawDoor(server) : served?.door
  return served && door && { app: served.app, door }
}

/** Answers an exchange; rejects only when nothing could be answered. */
function answer(exchange: Exchange, served: Behind | undefined, callers: Callers, refusals: Refusals): Promise<void> {
  try {
    if (!served) throw new AppError('not_found', `MCP server "${exchange.server}" not found: tsh mcp ls lists the ones you may use`)
    const known = callers.find(exchange.assertion, served.app)
    const serving = known
      ? served.door.serve(exchange, known)
      : callers.verify(exchange.assertion, served.app).then((caller) => served.door.serve(exchange, caller))
    return serving.catch((thrown: unknown) => refuse(exchange, served, thrown, refusals))
  } catch (thrown) {
    return refuse(exchange, served, thrown, refusals)
  }
}

async function refuse(exchange: Exchange, served: Behind | undefined, thrown: unknown, refusals: Refusals): Promise<void> {
  const error = toAppError(thrown)
  await refusals.record(exchange, served?.app, error)
  await new Outlet(exchange, {}).fail(error, findRequestId(exchange.body))
}

import { join } from 'node:path'
import { hostname } from 'node:os'
import { watchResources } from '../../api/watch.ts'
import { AssertionKeys } from '../../client/assertion-keys.ts'
import { openStream } from '../../client/https-carrier.ts'
import { type HostSaid, saveHostFacts } from '../../client/join.ts'
import { renderProxyAddress } from '../../client/proxy-address.ts'
import { openTunnelSocket } from '../../client/tunnel-socket.ts'
import { WatchedFeed } from '../../client/watch.ts'
import { toAppError } from '../../lib/errors.ts'
import { orCancelled } from '../../lib/pause.ts'
import type { ResourceFeed } from '../../resources/feed.ts'
import type { Kind } from '../../resources/registry.ts'
import { Enrolment } from '../../services/agent/enrolment.ts'
import { KnownProxies } from '../../services/agent/known-proxies.ts'
import { ProxyTunnels } from '../../services/agent/proxy-tunnels.ts'
import { shipToAuthService } from '../../services/agent/remote-shipping.ts'
import { realClock } from '../../tunnel/clock.ts'
import type { ExchangeTarget } from '../../tunnel/exchange.ts'
import { tagOf } from '../../tunnel/session-tag.ts'
import type { Config } from './config.ts'
import { type Membership, readProof } from './membership.ts'
import type { ProcessOptions } from './process-options.ts'
import { type AuthLink, startAgentOn } from './start-agent.ts'
import { startInOrder } from './start-in-order.ts'
import { openStdioHost } from './stdio-host.ts'

type AgentRole = 'App' | 'Db'

/** What an agent decides by, beside what it serves. */
const KINDS: readonly Kind[] = ['proxy', 'role', 'user', 'bot', 'lock', 'cluster_auth_preference']
/** For calls under way, when it ends. */
const DRAIN_MS = 5000
/** Servers are away as long as this takes: it forgives sooner, and waits less, than the tunnel would by itself. */
const BACKOFF = { stableMs: 10_000, maxMs: 15_000 }
const KEYS_TRIES = 5
const FACTS_EVERY_MS = 60_000
const FACTS_SOON_MS = 300

/** A process with an agent alone, whose Auth Service and proxy are elsewhere. */
export interface AgentHost {
  hostId: string
  clusterName: string
  /** `HOST:PORT`. */
  proxy: string
  diagnostics: { host: string; port: number } | undefined
  close(): Promise<void>
  /** For the last moment of the process: ends every child at once. */
  killChildren(): void
}

/**
 * Joins, learns what the cluster holds, and serves the proxy over a tunnel that this host dials. While the proxy cannot be reached at the start it
 * waits; the signal ends that.
 */
export async function startAgentHost(options: ProcessOptions, membership: Membership, signal: AbortSignal): Promise<AgentHost> {
  const { log, version } = options
  const role = options.config.agent.enabled ? 'App' : 'Db'
  const config = withRole(options.config, role)
  return await startInOrder(options, async ({ closers, diagnostics }) => {
    const known = await KnownProxies.open(config.dataDirectory, log)
    const enrolment = await enrol(options, membership, { role, known }, signal)
    closers.push(async () => enrolment.close())
    const { link, closeLink } = await openLink(enrolment, role, options, signal)
    closers.push(closeLink)
    closers.push(known.follow(link.feed))
    const host = await openStdioHost(config.dataDirectory, options.env, log)
    closers.push(() => host.close())
    const agent = startAgentOn({ ...options, config }, link, host, diagnostics)
    closers.push(() => agent.close())
    const inventory = tellOfHost(enrolment, { hostname: config.nodename ?? hostname(), version, services: [role.toLowerCase()] }, options)
    closers.push(async () => inventory.close())
    const tunnels = openTunnels(membership, { enrolment, feed: link.feed, target: agent.accept, onChange: inventory.tell }, options)
    closers.push(async () => {
      if (!(await agent.drain(DRAIN_MS))) log.warn('calls that are still under way are cut off', { waited_ms: DRAIN_MS })
      // The sessions say goodbye over the tunnel.
      await Promise.all([agent.close(), tunnels.close(DRAIN_MS)])
    })
    await agent.announced()
    diagnostics?.setState('ok')
    closers.push(async () => diagnostics?.setState('stopping'))
    const { hostId, clusterName } = enrolment
    const proxy = renderProxyAddress(membership.proxy)
    return { hostId, clusterName, proxy, diagnostics: diagnostics?.address, killChildren: () => host.killNow() }
  })
}

/** A certificate has one role: a host that serves MCP servers and databases runs a process for each. */
function withRole(config: Config, role: AgentRole): Config {
  return { ...config, databases: { ...config.databases, enabled: role === 'Db' && config.databases.enabled } }
}

function enrol(
  { config, env, log, now, version }: ProcessOptions,
  membership: Membership,
  { role, known }: { role: AgentRole; known: KnownProxies },
  signal: AbortSignal,
): Promise<Enrolment> {
  const { proxy, caPins, reach } = membership
  return Enrolment.open(
    {
      directory: join(config.dataDirectory, 'agent'),
      target: { proxy, caPins },
      otherProxies: () => known.list().map(reach),
      role,
      hostname: config.nodename ?? hostname(),
      version,
      findProof: () => readProof(membership, env),
      now,
      after: realClock.after,
      random: Math.random,
      log,
    },
    signal,
  )
}

/** The Auth Service over its connection: resources and keys are there when this settles. */
async function openLink(
  enrolment: Enrolment,
  role: AgentRole,
  { log }: ProcessOptions,
  signal: AbortSignal,
): Promise<{ link: AuthLink; closeLink(): Promise<void> }> {
  const { api, hostId, clusterName } = enrolment
  const kinds: readonly Kind[] = [...(role === 'App' ? (['app', 'secret'] as const) : (['db'] as const)), ...KINDS]
  const feed = new WatchedFeed({
    open: (stop) => openStream(enrolment.http, watchResources, { kinds: kinds.join(',') }, stop),
    kinds,
    monotonic: realClock.now,
    after: realClock.after,
    random: Math.random,
    log,
  })
  const keys = new AssertionKeys({ api, monotonic: realClock.now, log })
  const closeLink = async (): Promise<void> => {
    keys.close()
    await feed.close()
  }
  try {
    await orCancelled(feed.ready(), signal, 'stopped before the agent was up')
    await loadKeys(keys, signal)
  } catch (thrown) {
    await closeLink()
    throw thrown
  }
  return {
    link: {
      clusterName,
      hostId,
      api,
      feed,
      assertionKeys: () => keys.current(),
      refreshKeys: () => keys.refresh(),
      knownSince: () => feed.knownSince(),
      staleMs: () => feed.staleMs(),
      ship: (spool) => shipToAuthService(spool, api, log),
      sessionTag: tagOf(hostId),
    },
    closeLink,
  }
}

async function loadKeys(keys: AssertionKeys, signal: AbortSignal): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await keys.load()
    } catch (thrown) {
      if (tries === KEYS_TRIES || signal.aborted) throw thrown
      const { promise, resolve } = Promise.withResolvers<void>()
      realClock.after(1000 * tries, resolve)
      await orCancelled(promise, signal, 'stopped before the agent was up')
    }
  }
}

function openTunnels(
  { proxy: wayIn, reach }: Membership,
  link: {
    enrolment: Enrolment
    feed: ResourceFeed
    target: ExchangeTarget
    onChange(proxies: readonly string[]): void
  },
  { log }: ProcessOptions,
): ProxyTunnels {
  const { enrolment, feed, target, onChange } = link
  return new ProxyTunnels({
    feed,
    wayIn,
    reach,
    connect: (proxy, stop) => openTunnelSocket({ proxy, identity: enrolment.identity }, stop),
    target,
    onChange,
    random: Math.random,
    clock: realClock,
    backoff: BACKOFF,
    log,
  })
}

/** What `tctl inventory` shows of this host, and proxies say to whom they cannot connect. */
interface Inventory {
  /** By which proxies this host is reached now. */
  tell(proxies: readonly string[]): void
  close(): void
}

function tellOfHost(enrolment: Enrolment, facts: Omit<HostSaid, 'proxies'>, { log }: ProcessOptions): Inventory {
  let proxies: readonly string[] = []
  let isDue = false
  const save = (): void => {
    isDue = false
    saveHostFacts(enrolment.api, { ...facts, proxies }).catch((thrown: unknown) =>
      log.warn('the inventory could not be told of this host', { error: toAppError(thrown) }),
    )
  }
  save()
  const timer = setInterval(save, FACTS_EVERY_MS).unref()
  return {
    tell(now) {
      proxies = now
      // Several come or go at the same time, and at the end all.
      if (!isDue) realClock.after(FACTS_SOON_MS, save)
      isDue = true
    },
    close: () => clearInterval(timer),
  }
}

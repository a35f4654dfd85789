import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { dirname } from 'node:path'
import type { Duplex } from 'node:stream'
import { createApiClient } from '../../client/call.ts'
import { renderProxyAddress } from '../../client/proxy-address.ts'
import { ensurePrivateDirectory } from '../../lib/atomic-file.ts'
import { AppError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { acquireInstanceLock } from '../../lib/single-instance.ts'
import type { Agent } from '../../services/agent/start.ts'
import { type AuthService, startAuthService } from '../../services/auth/start.ts'
import { type Announcement, announceProxy } from '../../services/proxy/announcement.ts'
import { publicAddresses, tunnelAddress } from '../../services/proxy/config.ts'
import type { Aggregate } from '../../services/proxy/aggregate-route.ts'
import type { Tunnels } from '../../services/proxy/tunnels.ts'
import type { Listener } from '../../lib/listener.ts'
import type { Config } from './config.ts'
import { addQuarantineMetrics } from './diagnostics.ts'
import { hostIdentity, loadHostId } from './host-id.ts'
import { listenLocally } from './local-door.ts'
import type { ProcessOptions } from './process-options.ts'
import { type AuthLink, startAgentOn } from './start-agent.ts'
import { createProxy } from './start-proxy.ts'
import { type Closers, startInOrder } from './start-in-order.ts'
import { openStdioHost } from './stdio-host.ts'
import { realClock } from '../../tunnel/clock.ts'
import { startWebListener } from './web-listener.ts'

/** For calls under way, when it ends. */
const DRAIN_MS = 5000
/** After that, for the last words on streams. */
const FAREWELL_MS = 1000
/** A process with its services up. */
export interface Running {
  auth: AuthService
  agent: Agent | undefined
  /** Where the proxy listens. */
  address: { host: string; port: number }
  /** `HOST:PORT` for people: the public address, else where it listens. */
  publicAddress: string
  /** Where metrics and health are served; undefined when they are not. */
  diagnostics: { host: string; port: number } | undefined
  /** Stops accepting, lets what is under way finish, flushes, and leaves nothing behind. */
  close(): Promise<void>
  /** For the last moment of the process: ends every child at once. */
  killChildren(): void
}

/** Opens, wires and listens: Auth Service, Proxy Service and agent in one process, meeting over the same interfaces as between machines. */
export async function startRunning(options: ProcessOptions): Promise<Running> {
  const { config, env, log, now, version } = options
  assertBothEnabled(config)
  return await startInOrder(options, async ({ closers, diagnostics }) => {
    await lockStore(options, closers)
    const hostId = await loadHostId(config.dataDirectory)
    // What begins after those that need it.
    const later: { tunnels?: Tunnels; listener?: Listener } = {}
    let publicAddress = publicAddresses(config.proxy)[0] ?? config.proxy.web_listen_addr
    const auth = await startAuthService({
      config: config.auth,
      dataDirectory: config.dataDirectory,
      store: config.store,
      signal: options.signal,
      publicAddress: () => publicAddress,
      isConnected: (host) => host === hostId || later.tunnels?.isConnected(host) === true,
      otherAddresses: [...publicAddresses(config.proxy), ...tunnelAddresses(config)],
      log,
      now,
      version,
      random: (size) => randomBytes(size),
    })
    closers.push(() => auth.close())
    const host = config.agent.enabled || config.databases.enabled ? await openStdioHost(config.dataDirectory, env, log) : undefined
    closers.push(async () => host?.close())
    const agent = host && startAgentOn(options, localLink(config, auth, hostId), host, diagnostics)
    if (agent) closers.push(() => agent.close())
    const acceptStream = (stream: Duplex): void => later.listener?.acceptStream(stream)
    const { proxyServer, aggregate, tunnels } = createProxy(options, auth, agent, hostId, acceptStream, closers)
    later.tunnels = tunnels
    if (diagnostics) addQuarantineMetrics(diagnostics.metrics, () => aggregate.quarantine())
    const listener = await startWebListener(options, auth, proxyServer, tunnels, closers)
    later.listener = listener
    closers.push(() => leaveInOrder({ auth, agent, aggregate, tunnels, listener, log }))
    const address = listener.address()
    if (publicAddresses(config.proxy).length === 0)
      publicAddress = `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`
    closers.push(await listenLocally(config.dataDirectory, auth.localHandler))
    const announcement = announceThis(options, auth, hostId, address)
    closers.push(() => announcement.close())
    await announcement.told
    await agent?.announced()
    diagnostics?.setState('ok')
    closers.push(async () => diagnostics?.setState('stopping'))
    return { auth, agent, address, diagnostics: diagnostics?.address, publicAddress, killChildren: () => host?.killNow() }
  })
}

/** Agents on other machines keep a tunnel to each proxy that tells of itself. */
function announceThis(
  { config, log, now, version }: ProcessOptions,
  auth: AuthService,
  hostId: string,
  address: { host: string; port: number },
): Announcement {
  const tunnel = tunnelAddress(config.proxy) ?? (ANYWHERE.has(address.host) ? undefined : renderProxyAddress(address))
  return announceProxy({
    api: createApiClient(auth.carrier(hostIdentity(hostId, 'Proxy'))),
    facts: {
      hostId,
      hostname: config.nodename ?? hostname(),
      version,
      publicAddresses: publicAddresses(config.proxy),
      tunnelAddress: tunnel,
    },
    after: realClock.after,
    now,
    log,
  })
}

/** What listens there has no address that others could dial. */
const ANYWHERE: ReadonlySet<string> = new Set(['0.0.0.0', '::'])

function tunnelAddresses({ proxy }: Config): string[] {
  return [proxy.tunnel_public_addr ?? []].flat()
}

/** An SQLite file in a directory of its own is for one process, too. */
async function lockStore({ config: { store, dataDirectory }, now }: ProcessOptions, closers: Closers): Promise<void> {
  if (store?.type !== 'sqlite' || dirname(store.at) === dataDirectory) return
  await ensurePrivateDirectory(dirname(store.at))
  const lock = await acquireInstanceLock(dirname(store.at), { pid: process.pid, now })
  closers.push(() => lock.release())
}

interface Leaving {
  auth: AuthService
  agent: Agent | undefined
  aggregate: Aggregate
  tunnels: Tunnels
  listener: Listener
  log: Logger
}

/**
 * Calls under way may end, while nothing new is accepted; only then the event streams, which never end, are ended. The aggregate is a client
 * of the agents: it leaves first, in good order, and does not take an agent that goes for servers that are gone.
 */
async function leaveInOrder({ auth, agent, aggregate, tunnels, listener, log }: Leaving): Promise<void> {
  auth.endWatches()
  const closing = listener.close({ graceMs: DRAIN_MS + FAREWELL_MS })
  const [isDone] = await Promise.all([agent?.drain(DRAIN_MS), tunnels.drain(DRAIN_MS)])
  if (isDone === false) log.warn('calls that are still under way are cut off', { waited_ms: DRAIN_MS })
  await aggregate.close()
  await agent?.close()
  tunnels.close()
  await closing
}

function assertBothEnabled({ auth, proxy }: Config): void {
  if (!auth.enabled || !proxy.enabled)
    throw new AppError('unimplemented', 'this version runs the Auth Service and the Proxy Service in one process: leave both enabled')
}

/** The Auth Service of the same process: calls are functions, and a thread brings the journal into the store. */
function localLink({ agent, databases }: Config, auth: AuthService, hostId: string): AuthLink {
  const roles = [...(agent.enabled ? (['App'] as const) : []), ...(databases.enabled ? (['Db'] as const) : [])]
  return {
    clusterName: auth.clusterName,
    hostId,
    api: createApiClient(auth.carrier(hostIdentity(hostId, ...roles))),
    feed: auth.feed,
    assertionKeys: () => auth.assertionKeys(),
    ship: (spool) => auth.shipJournal(spool.source),
  }
}

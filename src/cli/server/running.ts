import { randomBytes, randomUUID } from 'node:crypto'
import { createServer, type RequestListener, type Server } from 'node:http'
import { readFile, rm } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { createApiClient } from '../../client/call.ts'
import { prepareLocalSocket } from '../../client/local-carrier.ts'
import { ensurePrivateDirectory, readTextIfPresent, writeFileAtomic } from '../../lib/atomic-file.ts'
import { AppError } from '../../lib/errors.ts'
import { createIds } from '../../lib/ids.ts'
import { type Listener, startListener, type TlsCredentials } from '../../lib/listener.ts'
import type { Logger } from '../../lib/log.ts'
import { isLoopbackAddress } from '../../lib/loopback.ts'
import type { Environment } from '../../lib/paths.ts'
import { createRedactor } from '../../lib/redact.ts'
import { acquireInstanceLock } from '../../lib/single-instance.ts'
import { createMcpMetrics } from '../../mcp/metrics.ts'
import { createBridgedUpstream } from '../../mcp/eras/bridged.ts'
import { createUpstream } from '../../mcp/upstream/open.ts'
import type { Identity } from '../../resources/identity.ts'
import { type Agent, startAgent } from '../../services/agent/start.ts'
import { type AuthService, startAuthService } from '../../services/auth/start.ts'
import { Aggregate } from '../../services/proxy/aggregate-route.ts'
import { Assertions } from '../../services/proxy/assertions.ts'
import { type ProxyConfig, publicAddresses, splitAddress } from '../../services/proxy/config.ts'
import { createProxyServer } from '../../services/proxy/server.ts'
import type { Exchange } from '../../tunnel/exchange.ts'
import type { Config } from './config.ts'
import { openStdioHost } from './stdio-host.ts'
import { addJournalMetrics, addQuarantineMetrics, type Diagnostics, startDiagnostics } from './diagnostics.ts'

/** For calls under way, when it ends. */
const DRAIN_MS = 5000
/** After that, for the last words on streams. */
const FAREWELL_MS = 1000
/** What a certificate we issue ourselves is renewed at: a third of its life before its end. */
const RENEWAL_CHECK_MS = 3_600_000
const RENEWAL_MARGIN_MS = 7 * 86_400_000
/** Connections beside those of the event streams that MCP sessions may have. */
const OTHER_CONNECTIONS = 10_000

export interface RunningOptions {
  config: Config
  env: Environment
  log: Logger
  now: () => number
  version: string
}

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
export async function startRunning({ config, env, log, now, version }: RunningOptions): Promise<Running> {
  assertBothEnabled(config)
  const closers: (() => Promise<void>)[] = []
  const close = async (): Promise<void> => {
    for (const step of closers.splice(0).toReversed()) await step()
  }
  try {
    await ensurePrivateDirectory(config.dataDirectory)
    const lock = await acquireInstanceLock(config.dataDirectory, { pid: process.pid, now })
    closers.push(() => lock.release())
    const diagnostics = config.diag && (await startDiagnostics(config.diag, { log }))
    closers.push(async () => diagnostics?.close())
    const hostId = await loadHostId(config.dataDirectory)
    let publicAddress = publicAddresses(config.proxy)[0] ?? config.proxy.web_listen_addr
    const auth = await startAuthService({
      config: config.auth,
      dataDirectory: config.dataDirectory,
      publicAddress: () => publicAddress,
      log,
      now,
      version,
      random: (size) => randomBytes(size),
    })
    closers.push(() => auth.close())
    const host = config.agent.enabled ? await openStdioHost(config.dataDirectory, env, log) : undefined
    closers.push(async () => host?.close())
    const agent = host && startAgentOf({ config, env, log, now, version }, auth, hostId, diagnostics, host)
    if (agent) closers.push(() => agent.close())
    const { proxyServer, aggregate } = createProxy({ config, env, log, now, version }, auth, agent, hostId, closers)
    if (diagnostics) addQuarantineMetrics(diagnostics.metrics, () => aggregate.quarantine())
    const listener = await listen(config, auth, proxyServer, { log, now }, closers)
    // Calls under way may end, while nothing new is accepted; only then the event streams, which never end, are ended. The aggregate is a client
    // of the agent: it leaves first, in good order, and does not take an agent that goes for servers that are gone.
    closers.push(async () => {
      const closing = listener.close({ graceMs: DRAIN_MS + FAREWELL_MS })
      await agent?.drain(DRAIN_MS)
      await aggregate.close()
      await agent?.close()
      await closing
    })
    const address = listener.address()
    if (publicAddresses(config.proxy).length === 0)
      publicAddress = `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`
    closers.push(await listenLocally(config.dataDirectory, auth.localHandler))
    await agent?.announced()
    diagnostics?.setState('ok')
    closers.push(async () => diagnostics?.setState('stopping'))
    return { auth, agent, address, diagnostics: diagnostics?.address, publicAddress, close, killChildren: () => host?.killNow() }
  } catch (error) {
    await close()
    throw error
  }
}

function assertBothEnabled({ auth, proxy }: Config): void {
  if (!auth.enabled || !proxy.enabled)
    throw new AppError('unimplemented', 'this version runs the Auth Service and the Proxy Service in one process: leave both enabled')
}

/** The Proxy Service, which asks the Auth Service with its callers' credentials; of its own it has one that gives names to tools, and nothing else. */
function createProxy(
  { config, log, now, version }: RunningOptions,
  auth: AuthService,
  agent: Agent | undefined,
  hostId: string,
  closers: (() => Promise<void>)[],
): { proxyServer: Server; aggregate: Aggregate } {
  const clientFor = (token: string, remoteAddress: string) => createApiClient(withToken(auth, token, remoteAddress))
  const assertions = new Assertions({ clientFor, feed: auth.feed, now })
  closers.push(async () => assertions.close())
  const toServers = {
    assertions,
    target: agent ? agent.accept : ({ answer }: Exchange) => answer.abort('no agent'),
    maxRequestBytes: config.proxy.max_request_bytes,
  }
  const api = createApiClient(auth.carrier(hostIdentity(hostId, 'Proxy')))
  const aggregate = new Aggregate({
    ...toServers,
    limits: config.proxy.mcp_limits,
    clientFor,
    api,
    feed: auth.feed,
    version,
    now,
    ids: createIds(),
    key: randomBytes(32),
    log,
  })
  closers.push(() => aggregate.close())
  const proxyServer = createProxyServer({
    ...toServers,
    aggregate,
    auth: auth.handler,
    publicAddresses: publicAddresses(config.proxy),
    isReady: () => true,
    log,
  })
  return { proxyServer, aggregate }
}

function withToken(auth: AuthService, token: string, remoteAddress: string): ReturnType<AuthService['carrier']> {
  const carrier = auth.carrier()
  return (request) => carrier({ ...request, remoteAddress, headers: { ...request.headers, authorization: `Bearer ${token}` } })
}

function startAgentOf(
  { config, log, now, version }: RunningOptions,
  auth: AuthService,
  hostId: string,
  diagnostics: Diagnostics | undefined,
  host: Awaited<ReturnType<typeof openStdioHost>>,
) {
  const spoolDirectory = join(config.dataDirectory, 'spool')
  if (diagnostics) addJournalMetrics(diagnostics.metrics, spoolDirectory)
  return startAgent({
    config: config.agent,
    clusterName: auth.clusterName,
    hostId,
    hostname: config.nodename ?? hostname(),
    version,
    spoolDirectory,
    metrics: diagnostics && createMcpMetrics(diagnostics.metrics),
    api: createApiClient(auth.carrier(hostIdentity(hostId, 'App'))),
    ship: (spool) => auth.shipJournal(spool.source),
    feed: auth.feed,
    assertionKeys: () => auth.assertionKeys(),
    createUpstream: (app) =>
      createBridgedUpstream(createUpstream(app, { now, log, demo: { clusterName: auth.clusterName }, stdio: host, http: {} }), {
        server: app.metadata.name,
        now,
        random: (size) => randomBytes(size),
        log,
        version,
      }),
    redactor: createRedactor(),
    ids: createIds(),
    now,
    monotonic: () => performance.now(),
    log,
  })
}

/** What a service of this process is at the Auth Service. */
function hostIdentity(hostId: string, role: 'App' | 'Proxy'): Identity {
  return {
    kind: 'host',
    name: hostId,
    roles: [role],
    traits: {},
    credential: 'local',
    credentialId: hostId,
    expiresAt: Number.MAX_SAFE_INTEGER,
    mfaVerified: true,
  }
}

async function loadHostId(dataDirectory: string): Promise<string> {
  const path = join(dataDirectory, 'host_uuid')
  const known = (await readTextIfPresent(path))?.trim()
  if (known) return known
  const created = randomUUID()
  await writeFileAtomic(path, `${created}\n`)
  return created
}

async function listen(
  { proxy: config, agent }: Config,
  auth: AuthService,
  proxyServer: Server,
  { log, now }: { log: Logger; now: () => number },
  closers: (() => Promise<void>)[],
): Promise<Listener> {
  const { host, port } = splitAddress(config.web_listen_addr)
  const authServer = createServer({ headersTimeout: 15_000, requestTimeout: 60_000 }, auth.handler)
  let credentials = await tlsCredentials(config, auth)
  const listener = await startListener({
    host,
    port,
    tls: credentials,
    defaultServer: proxyServer,
    allowPlain: isLoopbackAddress,
    maxConnections: config.mcp_limits.sessions + agent.mcp_limits.sessions + OTHER_CONNECTIONS,
    servers: { 'http/1.1': proxyServer, 'sallyport-auth': authServer },
    onFault: (error, remoteAddress) => log.debug('connection fault', { error: error.message, remoteAddress }),
  })
  const renewal = setInterval(() => {
    if (credentials.notAfter - now() > RENEWAL_MARGIN_MS) return
    tlsCredentials(config, auth).then(
      (renewed) => {
        credentials = renewed
        listener.setTlsContext(renewed)
      },
      (error: unknown) => log.error('the TLS certificate could not be renewed', { error: String(error) }),
    )
  }, RENEWAL_CHECK_MS).unref()
  closers.push(async () => clearInterval(renewal))
  return listener
}

async function tlsCredentials(config: ProxyConfig, auth: AuthService): Promise<TlsCredentials & { notAfter: number }> {
  const ca = auth.hostAuthorityPems()
  const [pair] = config.https_keypairs
  if (pair) {
    const [key, cert] = await Promise.all([readFile(pair.key_file, 'utf8'), readFile(pair.cert_file, 'utf8')])
    return { key, cert, ca, notAfter: Number.MAX_SAFE_INTEGER }
  }
  const hosts = [config.web_listen_addr, ...publicAddresses(config)].map((address) => splitAddress(address).host)
  const isAddress = (name: string): boolean => /^[\d.]+$|:/.test(name)
  const dns = new Set(['localhost', hostname(), ...hosts.filter((name) => !isAddress(name))])
  const ip = new Set(['127.0.0.1', '::1', ...hosts.filter((name) => isAddress(name) && name !== '0.0.0.0' && name !== '::')])
  return { ...(await auth.issueServerCertificate({ dns: [...dns], ip: [...ip] })), ca }
}

/** The administrator's door: whoever may open this socket is one. */
async function listenLocally(dataDirectory: string, handler: RequestListener): Promise<() => Promise<void>> {
  const path = prepareLocalSocket(dataDirectory)
  await rm(path, { force: true }) // ours: we hold the instance lock
  const server = createServer(handler)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    // The socket is made within this call. Any longer, and what others make meanwhile, children among it, would have this mask too.
    const before = process.umask(0o177)
    try {
      server.listen(path, resolve)
    } finally {
      process.umask(before)
    }
  })
  return () =>
    new Promise((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
}

import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { hostname } from 'node:os'
import type { WireServer } from '../../lib/http-wire/server.ts'
import { type Listener, startListener, type TlsCredentials } from '../../lib/listener.ts'
import { isLoopbackAddress } from '../../lib/loopback.ts'
import type { AuthService } from '../../services/auth/start.ts'
import { type ProxyConfig, publicAddresses, splitAddress, tunnelAddress } from '../../services/proxy/config.ts'
import { TUNNEL_ALPN } from '../../client/tunnel-socket.ts'
import type { Tunnels } from '../../services/proxy/tunnels.ts'
import type { ProcessOptions } from './process-options.ts'

/** What a certificate we issue ourselves is renewed at: a third of its life before its end. */
const RENEWAL_CHECK_MS = 3_600_000
const RENEWAL_MARGIN_MS = 7 * 86_400_000
/** The Auth Service answers sooner, and a watch says something more often: whoever takes nothing for so long is gone. */
const SILENCE_MS = 120_000
/** Connections beside those of the event streams that MCP sessions may have. */
const OTHER_CONNECTIONS = 10_000

/** The one port for clients, and by ALPN for those who bring a certificate to the Auth Service. */
export async function startWebListener(
  { config: { proxy: config, agent }, log, now }: ProcessOptions,
  auth: AuthService,
  proxyServer: WireServer,
  tunnels: Pick<Tunnels, 'accept'>,
  closers: (() => Promise<void>)[],
): Promise<Listener> {
  const { host, port } = splitAddress(config.web_listen_addr)
  const authServer = createServer({ headersTimeout: 15_000, requestTimeout: 60_000 }, auth.handler)
  authServer.setTimeout(SILENCE_MS)
  let credentials = await tlsCredentials(config, auth)
  const listener = await startListener({
    setting: 'proxy_service.web_listen_addr of the configuration file',
    host,
    port,
    tls: credentials,
    defaultServer: proxyServer,
    allowPlain: isLoopbackAddress,
    maxConnections: config.mcp_limits.sessions + agent.mcp_limits.sessions + OTHER_CONNECTIONS,
    servers: { 'http/1.1': proxyServer, 'sallyport-auth': authServer },
    withinStreams: ['sallyport-auth', TUNNEL_ALPN],
    sockets: { [TUNNEL_ALPN]: (socket) => tunnels.accept(socket) },
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
  const dialled = tunnelAddress(config)
  const hosts = [config.web_listen_addr, ...publicAddresses(config), ...(dialled === undefined ? [] : [dialled])].map(
    (address) => splitAddress(address).host,
  )
  const isAddress = (name: string): boolean => /^[\d.]+$|:/.test(name)
  const dns = new Set(['localhost', hostname(), ...hosts.filter((name) => !isAddress(name))])
  const ip = new Set(['127.0.0.1', '::1', ...hosts.filter((name) => isAddress(name) && name !== '0.0.0.0' && name !== '::')])
  return { ...(await auth.issueServerCertificate({ dns: [...dns], ip: [...ip] })), ca }
}

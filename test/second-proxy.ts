import { randomUUID } from 'node:crypto'
import { connect, createServer, type Socket } from 'node:net'
import { fileSchema } from '../src/cli/server/config.ts'
import { hostIdentity } from '../src/cli/server/host-id.ts'
import { createProxy } from '../src/cli/server/start-proxy.ts'
import { startWebListener } from '../src/cli/server/web-listener.ts'
import { createApiClient } from '../src/client/call.ts'
import { silentLogger } from '../src/lib/log.ts'
import type { Listener } from '../src/lib/listener.ts'
import { announceProxy } from '../src/services/proxy/announcement.ts'
import type { Tunnels } from '../src/services/proxy/tunnels.ts'
import { realClock } from '../src/tunnel/clock.ts'
import type { Cluster } from './cluster.ts'

export interface SecondProxy {
  hostId: string
  port: number
  tunnels: Tunnels
  /** Where MCP clients reach a server. */
  mcpUrl(server: string): URL
  /** In good order. */
  close(): Promise<void>
  /** As a machine that loses its power, though its announcement is taken back here and now if told. */
  kill(): Promise<void>
}

/** Another proxy over the Auth Service of the cluster, on a port of its own. */
export async function startSecondProxy(cluster: Cluster, { isAnnounced = true }: { isAnnounced?: boolean } = {}): Promise<SecondProxy> {
  const { auth } = cluster.running
  const hostId = randomUUID()
  const closers: (() => Promise<void>)[] = []
  const { auth_service, proxy_service, app_service, db_service } = fileSchema.parse({ proxy_service: { web_listen_addr: '127.0.0.1:0' } })
  const config = {
    dataDirectory: cluster.dataDirectory,
    logLevel: 'info' as const,
    nodename: undefined,
    auth: auth_service,
    proxy: proxy_service,
    agent: app_service,
    databases: db_service,
  }
  const options = { config, env: process.env, log: silentLogger, now: Date.now, version: '0.0.0' }
  const later: { listener?: Listener } = {}
  const { proxyServer, tunnels } = createProxy(options, auth, undefined, hostId, (stream) => later.listener?.acceptStream(stream), closers)
  const listener = await startWebListener(options, auth, proxyServer, tunnels, closers)
  later.listener = listener
  const { port } = listener.address()
  const announcement = announceProxy({
    api: createApiClient(auth.carrier(hostIdentity(hostId, 'Proxy'))),
    facts: { hostId, hostname: 'second', version: '0.0.0', publicAddresses: [], tunnelAddress: `127.0.0.1:${port}` },
    after: realClock.after,
    now: Date.now,
    log: silentLogger,
  })
  if (!isAnnounced) await announcement.close()
  await announcement.told
  let isOver = false
  const end = async (graceMs: number): Promise<void> => {
    if (isOver) return
    isOver = true
    for (const step of closers.splice(0).toReversed()) await step()
    await listener.close({ graceMs })
  }
  return {
    hostId,
    port,
    tunnels,
    mcpUrl: (server) => new URL(`http://127.0.0.1:${port}/mcp/apps/${server}`),
    close: async () => {
      await announcement.close()
      await end(1000)
    },
    kill: () => end(0),
  }
}

/** Carries each connection to the next of these ports of loopback, in turn. */
export async function startBalancer(ports: () => readonly number[]): Promise<{ port: number; close(): Promise<void> }> {
  const sockets = new Set<Socket>()
  let next = 0
  const server = createServer((socket) => {
    const all = ports()
    const other = connect({ port: all[next++ % all.length] ?? 0, host: '127.0.0.1' })
    for (const [one, end] of [
      [socket, other],
      [other, socket],
    ] as const) {
      sockets.add(one)
      one.pipe(end)
      one.on('error', () => end.destroy())
      one.on('close', () => {
        sockets.delete(one)
        end.destroy()
      })
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      }),
  }
}

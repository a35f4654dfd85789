import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { type AgentHost, startAgentHost } from '../src/cli/server/agent-host.ts'
import { fileSchema } from '../src/cli/server/config.ts'
import type { ProxyAddress } from '../src/client/proxy-address.ts'
import { type Logger, silentLogger } from '../src/lib/log.ts'
import type { Cluster } from './cluster.ts'
import { eventually } from './wait.ts'

export interface RemoteAgent {
  readonly host: AgentHost
  dataDirectory: string
  /** Stops it in good order and starts it again on the same data. */
  restart(): Promise<void>
  stop(): Promise<void>
  /** Stops it and forgets its data. */
  close(): Promise<void>
}

/** An agent alone, in this process but with nothing shared: it joins the cluster with a token of its own, and dials its proxy. */
export async function startRemoteAgent(
  cluster: Cluster,
  {
    app = {},
    db,
    log = silentLogger,
    token,
    proxy,
  }: { app?: Record<string, unknown>; db?: Record<string, unknown>; log?: Logger; token?: string; proxy?: ProxyAddress | undefined } = {},
): Promise<RemoteAgent> {
  const dataDirectory = await mkdtemp(join(tmpdir(), 'sallyport-agent-'))
  const secret = token ?? `token-of-${basename(dataDirectory)}`
  if (token === undefined) await cluster.save({ kind: 'token', version: 'v2', metadata: { name: secret }, spec: { roles: ['App', 'Db'] } })
  const wayIn = (): ProxyAddress => proxy ?? { host: '127.0.0.1', port: cluster.running.address.port }
  const reach = (address: ProxyAddress): ProxyAddress => ({ ...address, ...(proxy?.open && { open: proxy.open }) })
  const start = (): Promise<AgentHost> => {
    const { auth_service, proxy_service, app_service, db_service } = fileSchema.parse({ app_service: app, ...(db && { db_service: db }) })
    const membership = { proxy: wayIn(), reach, caPins: [], join: { method: 'token' as const, token: secret } }
    const config = {
      dataDirectory,
      logLevel: 'info' as const,
      nodename: undefined,
      auth: { ...auth_service, enabled: false },
      proxy: { ...proxy_service, enabled: false },
      agent: app_service,
      databases: db_service,
      membership,
    }
    const options = { config, env: process.env, log, now: Date.now, version: '0.0.0' }
    return startAgentHost(options, membership, new AbortController().signal)
  }
  let host = await start()
  let isUp = true
  const stop = async (): Promise<void> => {
    if (isUp) await host.close()
    isUp = false
  }
  return {
    get host() {
      return host
    },
    dataDirectory,
    restart: async () => {
      await stop()
      host = await start()
      isUp = true
    },
    stop,
    close: async () => {
      await stop()
      await rm(dataDirectory, { recursive: true, force: true })
    },
  }
}

/** Waits until a caller is shown exactly these servers. */
export async function sees(cluster: Cluster, token: string, ...names: string[]): Promise<void> {
  await eventually(`to see ${names.join(', ') || 'nothing'}`, async () => {
    const answer = await fetch(`${cluster.url}/v1/mcp/servers`, { headers: { authorization: `Bearer ${token}` } })
    const { items } = (await answer.json()) as { items: { metadata: { name: string } }[] } // of our own API
    return items.map(({ metadata }) => metadata.name).join() === names.join() || undefined
  })
}

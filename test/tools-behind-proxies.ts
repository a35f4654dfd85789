import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { userInfo } from 'node:os'
import { listResources } from '../src/api/resources.ts'
import { parseResource } from '../src/resources/registry.ts'
import { type Cluster, startCluster } from './cluster.ts'
import { ECHO_STDIO } from './fakes/stdio-app.ts'
import { type SecondProxy, startSecondProxy } from './second-proxy.ts'

export interface Posted {
  status: number
  message: string
  sessionId: string | undefined
}

/** A cluster without an agent of its own, in which alice may use the server `tools` wherever an agent serves it. */
export interface ToolsBehindProxies {
  cluster: Cluster
  /** Of alice. */
  token: string
  /** An SDK client of hers, closed with the rest. */
  connect(url: URL): Promise<Client>
  /** A message of an MCP session, or the first of one, as a client sends it. */
  post(url: URL, sessionId?: string): Promise<Posted>
  startProxy(options?: Parameters<typeof startSecondProxy>[1]): Promise<SecondProxy>
  /** By host, the proxies to which the inventory says it has a tunnel. */
  proxyIds(): Promise<ReadonlyMap<string, readonly string[]>>
  /** Closed by `closeAll`, the last one first. */
  closeLater(close: () => Promise<unknown>): void
  /** After each test. */
  closeAll(): Promise<void>
}

export async function startToolsBehindProxies(): Promise<ToolsBehindProxies> {
  const cluster = await startCluster({ file: { app_service: { enabled: 'no' } } })
  await cluster.saveRole('dev', { allow: { app_labels: { env: 'dev' }, mcp: { tools: ['echo', 'pid'] } } })
  await cluster.saveUser('alice', ['dev'])
  const token = await cluster.tokenOf('alice')
  await saveTools(cluster, 'tools')
  const closers: (() => Promise<unknown>)[] = []
  return {
    cluster,
    token,
    connect: async (url) => {
      const client = new Client({ name: 'test', version: '1' })
      await client.connect(new StreamableHTTPClientTransport(url, { requestInit: { headers: { authorization: `Bearer ${token}` } } }))
      closers.push(() => client.close().catch(() => undefined))
      return client
    },
    post: (url, sessionId) => post(url, token, sessionId),
    startProxy: async (options) => {
      const proxy = await startSecondProxy(cluster, options)
      closers.push(() => proxy.close())
      return proxy
    },
    proxyIds: async () => {
      const { items } = await cluster.admin(listResources, { kind: 'host' })
      const hosts = items.map((item) => parseResource('host', item))
      return new Map(hosts.map(({ metadata, status }) => [metadata.name, status.proxy_ids ?? []]))
    },
    closeLater: (close) => void closers.push(close),
    closeAll: async () => {
      for (const close of closers.splice(0).toReversed()) await close()
    },
  }
}

/** Registers a server that alice may use. */
export function saveTools(cluster: Cluster, name: string): Promise<void> {
  return cluster.save({
    kind: 'app',
    version: 'v3',
    metadata: { name, labels: { env: 'dev' } },
    spec: { mcp: { command: process.execPath, args: [ECHO_STDIO], run_as_host_user: userInfo().username } },
  })
}

async function post(url: URL, token: string, sessionId: string | undefined): Promise<Posted> {
  const params = { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 't', version: '1' } }
  const answer = await fetch(url, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...(sessionId !== undefined && { 'mcp-session-id': sessionId }),
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, ...(sessionId === undefined ? { method: 'initialize', params } : { method: 'ping' }) }),
  })
  return { status: answer.status, message: await answer.text(), sessionId: answer.headers.get('mcp-session-id') ?? undefined }
}

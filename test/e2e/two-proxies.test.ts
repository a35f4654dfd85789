import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { userInfo } from 'node:os'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { listResources } from '../../src/api/resources.ts'
import { parseResource } from '../../src/resources/registry.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { ECHO_STDIO } from '../fakes/stdio-app.ts'
import { type RemoteAgent, sees, startRemoteAgent } from '../remote-agent.ts'
import { type SecondProxy, startBalancer, startSecondProxy } from '../second-proxy.ts'
import { eventually, succeeds } from '../wait.ts'

// An agent that knows one address keeps a tunnel to every proxy of the cluster.

let cluster: Cluster
let alice = ''
const closers: (() => Promise<unknown>)[] = []

beforeAll(async () => {
  cluster = await startCluster({ file: { app_service: { enabled: 'no' } } })
  await cluster.saveRole('dev', { allow: { app_labels: { env: 'dev' }, mcp: { tools: ['echo', 'pid'] } } })
  await cluster.saveUser('alice', ['dev'])
  alice = await cluster.tokenOf('alice')
  await cluster.save({
    kind: 'app',
    version: 'v3',
    metadata: { name: 'tools', labels: { env: 'dev' } },
    spec: { mcp: { command: process.execPath, args: [ECHO_STDIO], run_as_host_user: userInfo().username } },
  })
})
afterAll(() => cluster.close())
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function startAgent(options: Parameters<typeof startRemoteAgent>[1] = {}): Promise<RemoteAgent> {
  const agent = await startRemoteAgent(cluster, options)
  closers.push(() => agent.close())
  return agent
}

async function startProxy(options: Parameters<typeof startSecondProxy>[1] = {}): Promise<SecondProxy> {
  const proxy = await startSecondProxy(cluster, options)
  closers.push(() => proxy.close())
  return proxy
}

async function connect(url: URL): Promise<Client> {
  const client = new Client({ name: 'test', version: '1' })
  await client.connect(new StreamableHTTPClientTransport(url, { requestInit: { headers: { authorization: `Bearer ${alice}` } } }))
  closers.push(() => client.close().catch(() => undefined))
  return client
}

/** A message of an MCP session, or the first of one, as a client sends it. */
async function post(url: URL, sessionId?: string): Promise<{ status: number; message: string; sessionId: string | undefined }> {
  const params = { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 't', version: '1' } }
  const answer = await fetch(url, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${alice}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...(sessionId !== undefined && { 'mcp-session-id': sessionId }),
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, ...(sessionId === undefined ? { method: 'initialize', params } : { method: 'ping' }) }),
  })
  const text = await answer.text()
  return {
    status: answer.status,
    message: text,
    sessionId: answer.headers.get('mcp-session-id') ?? undefined,
  }
}

async function proxiesOf(agent: RemoteAgent): Promise<readonly string[]> {
  const { items } = await cluster.admin(listResources, { kind: 'host' })
  const host = items.map((item) => parseResource('host', item)).find(({ metadata }) => metadata.name === agent.host.hostId)
  return host?.status.proxy_ids ?? []
}

it('a session begun at one proxy goes on at the other, and when the one is gone', async () => {
  const second = await startProxy()
  const agent = await startAgent()
  await sees(cluster, alice, 'tools')
  await eventually('both tunnels', () => second.tunnels.isConnected(agent.host.hostId) || undefined)
  const begun = await post(second.mcpUrl('tools'))
  expect(begun).toMatchObject({ status: 200 })
  expect(await post(cluster.mcpUrl('tools'), begun.sessionId)).toMatchObject({ status: 200 })
  expect(await post(second.mcpUrl('tools'), begun.sessionId)).toMatchObject({ status: 200 })
  await second.kill()
  expect(await post(cluster.mcpUrl('tools'), begun.sessionId)).toMatchObject({ status: 200 })
  const client = await connect(cluster.mcpUrl('tools'))
  expect(await client.callTool({ name: 'echo', arguments: { text: 'still here' } })).toMatchObject({
    content: [{ text: expect.stringContaining('still here') }],
  })
})

it('dials a proxy that comes later, lets go of one that says goodbye, and the inventory knows', async () => {
  const agent = await startAgent()
  await sees(cluster, alice, 'tools')
  const second = await startProxy()
  const client = await succeeds('the second proxy serves', () => connect(second.mcpUrl('tools')))
  expect(await client.callTool({ name: 'echo', arguments: { text: 'late' } })).toMatchObject({
    content: [{ text: expect.stringContaining('late') }],
  })
  await eventually('two proxies in the inventory', async () => ((await proxiesOf(agent)).length === 2 ? true : undefined))
  expect(await proxiesOf(agent)).toContain(second.hostId)
  await second.close()
  await eventually('one proxy in the inventory', async () => ((await proxiesOf(agent)).length === 1 ? true : undefined))
  expect(await proxiesOf(agent)).not.toContain(second.hostId)
})

it('says that an agent is connected to another proxy only, and does not call its sessions gone', async () => {
  const agent = await startAgent()
  await sees(cluster, alice, 'tools')
  await eventually('the inventory to know', async () => ((await proxiesOf(agent)).length === 1 ? true : undefined))
  const unknown = await startProxy({ isAnnounced: false })
  const begun = await post(cluster.mcpUrl('tools'))
  const [first, next] = await Promise.all([post(unknown.mcpUrl('tools')), post(unknown.mcpUrl('tools'), begun.sessionId)])
  expect(first).toMatchObject({
    status: 503,
    message: expect.stringContaining('the agents that serve it are connected to another proxy of the cluster, and not to this one'),
  })
  expect(next).toMatchObject({
    status: 503,
    message: expect.stringContaining(
      'the agent that has this MCP session is connected to another proxy of the cluster, and not to this one: try again in a moment',
    ),
  })
  // Where no agent has it, a client is told to begin anew.
  expect((await post(unknown.mcpUrl('tools'), 'made-up~0123456789')).status).toBe(404)
})

it('reaches every proxy through a load balancer that nobody can steer', async () => {
  const second = await startProxy()
  const ports = [cluster.running.address.port, second.port]
  const balancer = await startBalancer(() => ports)
  const agent = await startAgent({ proxy: { host: '127.0.0.1', port: balancer.port } })
  await sees(cluster, alice, 'tools')
  await eventually('both tunnels', () => second.tunnels.isConnected(agent.host.hostId) || undefined)
  await balancer.close()
})

it('tells the Auth Service through another proxy when the one it knows is gone', async () => {
  const second = await startProxy()
  const way = await startBalancer(() => [cluster.running.address.port])
  const agent = await startAgent({ proxy: { host: '127.0.0.1', port: way.port } })
  await sees(cluster, alice, 'tools')
  await eventually('both tunnels', () => second.tunnels.isConnected(agent.host.hostId) || undefined)
  await way.close()
  await cluster.save({
    kind: 'app',
    version: 'v3',
    metadata: { name: 'more', labels: { env: 'dev' } },
    spec: { mcp: { command: process.execPath, args: [ECHO_STDIO], run_as_host_user: userInfo().username } },
  })
  await sees(cluster, alice, 'more', 'tools')
  await agent.restart()
  await sees(cluster, alice, 'more', 'tools')
})

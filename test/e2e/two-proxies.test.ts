import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { type RemoteAgent, sees, startRemoteAgent } from '../remote-agent.ts'
import { startBalancer } from '../second-proxy.ts'
import { saveTools, startToolsBehindProxies, type ToolsBehindProxies } from '../tools-behind-proxies.ts'
import { eventually, succeeds } from '../wait.ts'

// An agent that knows one address keeps a tunnel to every proxy of the cluster.

let story: ToolsBehindProxies

beforeAll(async () => {
  story = await startToolsBehindProxies()
})
afterEach(() => story.closeAll())
afterAll(() => story.cluster.close())

async function startAgent(options: Parameters<typeof startRemoteAgent>[1] = {}): Promise<RemoteAgent> {
  const agent = await startRemoteAgent(story.cluster, options)
  story.closeLater(() => agent.close())
  return agent
}

const proxiesOf = async (agent: RemoteAgent): Promise<readonly string[]> => (await story.proxyIds()).get(agent.host.hostId) ?? []

it('a session begun at one proxy goes on at the other, and when the one is gone', async () => {
  const { cluster, token, connect, post, startProxy } = story
  const second = await startProxy()
  const agent = await startAgent()
  await sees(cluster, token, 'tools')
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
  const { cluster, token, connect, startProxy } = story
  const agent = await startAgent()
  await sees(cluster, token, 'tools')
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
  const { cluster, token, post, startProxy } = story
  const agent = await startAgent()
  await sees(cluster, token, 'tools')
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
  const { cluster, token, startProxy } = story
  const second = await startProxy()
  const ports = [cluster.running.address.port, second.port]
  const balancer = await startBalancer(() => ports)
  const agent = await startAgent({ proxy: { host: '127.0.0.1', port: balancer.port } })
  await sees(cluster, token, 'tools')
  await eventually('both tunnels', () => second.tunnels.isConnected(agent.host.hostId) || undefined)
  await balancer.close()
})

it('tells the Auth Service through another proxy when the one it knows is gone', async () => {
  const { cluster, token, startProxy } = story
  const second = await startProxy()
  const way = await startBalancer(() => [cluster.running.address.port])
  const agent = await startAgent({ proxy: { host: '127.0.0.1', port: way.port } })
  await sees(cluster, token, 'tools')
  await eventually('both tunnels', () => second.tunnels.isConnected(agent.host.hostId) || undefined)
  await way.close()
  await saveTools(cluster, 'more')
  await sees(cluster, token, 'more', 'tools')
  await agent.restart()
  await sees(cluster, token, 'more', 'tools')
})

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Cluster, startCluster } from '../cluster.ts'
import { ECHO_STDIO } from '../fakes/stdio-app.ts'

// The whole story of a call, from an official MCP client through the gateway to a server and into the audit log.

let cluster: Cluster

beforeAll(async () => {
  cluster = await startCluster()
  await cluster.saveStdioApp('tools', process.execPath, [ECHO_STDIO], { env: 'test' })
  await cluster.saveRole('reader', {
    allow: { app_labels: { env: 'test' }, mcp: { tools: ['echo', 'pid', 'slow'] } },
    deny: { mcp: { tools: ['pid'] } },
  })
  await cluster.saveRole('nothing', {})
  await cluster.saveUser('alice', ['reader'])
  await cluster.saveUser('bob', ['nothing'])
})

afterAll(() => cluster.close())

it('turns away who brings no token, before anything reaches the server', async () => {
  const answer = await post({ jsonrpc: '2.0', id: 1, method: 'initialize', params: {} })
  expect(answer.status).toBe(401)
  expect(await answer.json()).toMatchObject({
    jsonrpc: '2.0',
    id: null,
    error: { message: expect.stringContaining('a bearer token is required') },
  })
})

it('does not tell somebody without access that the server exists', async () => {
  await expect(connect('bob')).rejects.toThrow('MCP server \\"tools\\" not found')
})

it('refuses a tool that no role allows, and one that a role denies, and says why', async () => {
  const client = await connect('alice')
  await expect(client.callTool({ name: 'whoami' })).rejects.toMatchObject({ code: -32602, message: expect.stringContaining('"whoami"') })
  await expect(client.callTool({ name: 'pid' })).rejects.toMatchObject({
    code: -32602,
    message: expect.stringContaining('access to tool "pid" of MCP server "tools" denied'),
  })
  await client.close()

  const [first, second] = await cluster.eventsOnceThere({ user: 'alice', outcome: 'denied' }, 2)
  expect(first).toMatchObject({ event: 'mcp.session.request', code: 'TMCP003E', success: false, message: { params: { name: 'whoami' } } })
  expect(second).toMatchObject({
    event: 'mcp.session.request',
    code: 'TMCP003E',
    success: false,
    user: 'alice',
    user_roles: ['reader'],
    server: 'tools',
    message: { method: 'tools/call', params: { name: 'pid' } },
    decision: { allow: false, by: 'reader' },
  })
})

it('shows a client only the tools it may call, in the order of the server', async () => {
  const client = await connect('alice')
  const { tools } = await client.listTools()
  expect(tools.map((tool) => tool.name)).toEqual(['echo', 'slow'])
  await client.close()
})

it('passes an allowed call on, gives the answer as the server made it, and writes down both ends', async () => {
  const client = await connect('alice')
  expect(await client.callTool({ name: 'echo', arguments: { text: 'hello' } })).toMatchObject({
    content: [{ type: 'text', text: 'hello' }],
  })
  await client.close()

  const [call] = await cluster.eventsOnceThere({ user: 'alice', tool: 'echo' }, 1)
  expect(call).toMatchObject({
    event: 'mcp.session.request',
    code: 'TMCP003I',
    success: true,
    user: 'alice',
    server: 'tools',
    message: { jsonrpc: '2.0', method: 'tools/call', params: { name: 'echo', arguments: { text: 'hello' } } },
    decision: { allow: true, by: 'reader' },
    credential: { id: expect.any(String) },
    latency_ms: expect.any(Number),
  })
  // The call, its session and the end of it are tied together by one id.
  const session = await cluster.events({ server: 'tools', type: 'mcp.session.start' })
  expect(session.map((event) => event['sid'])).toContain(call?.['sid'])
})

it('says which kind of credential the caller had', async () => {
  const [call] = await cluster.eventsOnceThere({ user: 'alice', tool: 'echo' }, 1)
  expect(call).toMatchObject({ credential: { kind: 'api_token' } })
})

it('ends a session and its call under way at the moment of a lock, with the message of the lock', async () => {
  await cluster.saveUser('carol', ['reader'])
  const client = await connect('carol')
  const call = client.callTool({ name: 'slow', arguments: { ms: 60_000 } })
  const refused = expect(call).rejects.toThrow('lunch')
  await cluster.save({ kind: 'lock', version: 'v2', metadata: { name: 'no-carol' }, spec: { target: { user: 'carol' }, message: 'lunch' } })
  await refused
  await expect(client.callTool({ name: 'echo' })).rejects.toThrow('lunch')
  const [end] = await cluster.eventsOnceThere({ user: 'carol', type: 'mcp.session.end' }, 1)
  expect(end).toMatchObject({ success: false, reason: expect.stringContaining('lunch') })
})

function post(message: unknown): Promise<Response> {
  return fetch(cluster.mcpUrl('tools'), {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
    body: JSON.stringify(message),
  })
}

async function connect(user: string): Promise<Client> {
  const token = await cluster.tokenOf(user)
  const client = new Client({ name: 'story', version: '1' })
  await client.connect(
    new StreamableHTTPClientTransport(cluster.mcpUrl('tools'), { requestInit: { headers: { authorization: `Bearer ${token}` } } }),
  )
  return client
}

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { userInfo } from 'node:os'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { listResources } from '../../src/api/resources.ts'
import { parseResource } from '../../src/resources/registry.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { ECHO_STDIO } from '../fakes/stdio-app.ts'
import { startSecondProxy } from '../second-proxy.ts'
import { type SpawnedAgent, spawnAgent } from '../spawned-agent.ts'
import { eventually, succeeds } from '../wait.ts'

/** Until a frozen agent is noticed, at most: a ping every so often, and its deadline. */
const PING_MS = 30_000

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

async function connect(url: URL): Promise<Client> {
  const client = new Client({ name: 'test', version: '1' })
  await client.connect(new StreamableHTTPClientTransport(url, { requestInit: { headers: { authorization: `Bearer ${alice}` } } }))
  closers.push(() => client.close().catch(() => undefined))
  return client
}

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
  return { status: answer.status, message: await answer.text(), sessionId: answer.headers.get('mcp-session-id') ?? undefined }
}

interface Begun {
  agent: SpawnedAgent
  urls: URL[]
  sessionId: string
}

/** An agent with a session, known at both proxies. */
async function begin(): Promise<Begun> {
  const second = await startSecondProxy(cluster)
  closers.push(() => second.close())
  const agent = await spawnAgent(cluster)
  closers.push(() => agent.close())
  const urls = [cluster.mcpUrl('tools'), second.mcpUrl('tools')]
  const { sessionId = '' } = await eventually('a session at each proxy', async () => {
    const [first, other] = await Promise.all(urls.map((url) => post(url)))
    return first?.status === 200 && other?.status === 200 ? first : undefined
  })
  await eventually('the inventory to know', async () => ((await proxyIds()).some((ids) => ids.length === 2) ? true : undefined))
  return { agent, urls, sessionId }
}

async function proxyIds(): Promise<string[][]> {
  const { items } = await cluster.admin(listResources, { kind: 'host' })
  return items.map((item) => [...(parseResource('host', item).status.proxy_ids ?? [])])
}

/** Asks each proxy until it says that the session is gone; the longest time that took, ms. */
async function untilGone({ urls, sessionId }: Begun): Promise<number> {
  const since = performance.now()
  const gone = urls.map((url) => eventually('404', async () => ((await post(url, sessionId)).status === 404 ? true : undefined), 60_000))
  await Promise.all(gone)
  return performance.now() - since
}

// A client that comes back at once waits three seconds for the agent to dial again, and no agent is taken for connected to another proxy.
it.each(['SIGKILL', 'SIGTERM'] as const)(
  'every proxy calls the sessions of an agent gone that ended by %s',
  { timeout: 60_000 },
  async (signal) => {
    const begun = await begin()
    begun.agent.kill(signal)
    await begun.agent.ended
    expect(await untilGone(begun)).toBeLessThan(10_000)
    await eventually('the inventory to know', async () => ((await proxyIds()).every((ids) => ids.length === 0) ? true : undefined))
    expect(await post(cluster.mcpUrl('tools'))).toMatchObject({ status: 503, message: expect.stringContaining('are not connected') })
  },
)

it(
  'every proxy calls the sessions of a frozen agent gone after the deadline of a ping, and they are there again when it goes on',
  { timeout: 90_000 },
  async () => {
    const begun = await begin()
    process.kill(begun.agent.pid, 'SIGSTOP')
    expect(await untilGone(begun)).toBeLessThan(PING_MS + 10_000)
    process.kill(begun.agent.pid, 'SIGCONT')
    for (const url of begun.urls)
      await eventually('it to be back', async () => ((await post(url)).status === 200 ? true : undefined), 30_000)
    await eventually('the inventory to know', async () => ((await proxyIds()).some((ids) => ids.length === 2) ? true : undefined))
  },
)

it('a client goes on at another agent, at the URL of one server and of all', { timeout: 60_000 }, async () => {
  const { agent, urls, sessionId } = await begin()
  const all = new URL('/mcp', urls[1])
  const client = await connect(all)
  const name = (await client.listTools()).tools.map((tool) => tool.name).find((one) => one.includes('pid')) ?? ''
  const pidOf = async (): Promise<unknown> => (await client.callTool({ name, arguments: {} })).content
  const before = await pidOf()
  const other = await spawnAgent(cluster)
  closers.push(() => other.close())
  await eventually('the other agent', async () => ((await proxyIds()).filter((ids) => ids.length === 2).length === 2 ? true : undefined))
  agent.kill('SIGKILL')
  await agent.ended
  for (const url of urls) expect(await post(url)).toMatchObject({ status: 200 })
  expect(await untilGone({ agent, urls, sessionId })).toBeLessThan(10_000)
  const after = await succeeds('an answer of the other', () => pidOf())
  expect(after).not.toEqual(before)
})

import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { type SpawnedAgent, spawnAgent } from '../spawned-agent.ts'
import { startToolsBehindProxies, type ToolsBehindProxies } from '../tools-behind-proxies.ts'
import { eventually, succeeds } from '../wait.ts'

/** Until a frozen agent is noticed, at most: a ping every so often, and its deadline. */
const PING_MS = 30_000

let story: ToolsBehindProxies

beforeAll(async () => {
  story = await startToolsBehindProxies()
})
afterEach(() => story.closeAll())
afterAll(() => story.cluster.close())

interface Begun {
  agent: SpawnedAgent
  urls: URL[]
  sessionId: string
}

/** An agent with a session, known at both proxies. */
async function begin(): Promise<Begun> {
  const { cluster, post } = story
  const second = await story.startProxy()
  const agent = await startAgent()
  const urls = [cluster.mcpUrl('tools'), second.mcpUrl('tools')]
  const { sessionId = '' } = await eventually('a session at each proxy', async () => {
    const [first, other] = await Promise.all(urls.map((url) => post(url)))
    return first?.status === 200 && other?.status === 200 ? first : undefined
  })
  await eventually('the inventory to know', async () => (await proxyIds()).some((ids) => ids.length === 2))
  return { agent, urls, sessionId }
}

async function startAgent(): Promise<SpawnedAgent> {
  const agent = await spawnAgent(story.cluster)
  story.closeLater(() => agent.close())
  return agent
}

const proxyIds = async (): Promise<readonly (readonly string[])[]> => [...(await story.proxyIds()).values()]

/** Asks each proxy until it says that the session is gone; the longest time that took, ms. */
async function untilGone({ urls, sessionId }: Begun): Promise<number> {
  const since = performance.now()
  const gone = urls.map((url) =>
    eventually('404', async () => ((await story.post(url, sessionId)).status === 404 ? true : undefined), 60_000),
  )
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
    expect(await story.post(story.cluster.mcpUrl('tools'))).toMatchObject({
      status: 503,
      message: expect.stringContaining('are not connected'),
    })
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
      await eventually('it to be back', async () => ((await story.post(url)).status === 200 ? true : undefined), 30_000)
    await eventually('the inventory to know', async () => ((await proxyIds()).some((ids) => ids.length === 2) ? true : undefined))
  },
)

it('a client goes on at another agent, at the URL of one server and of all', { timeout: 60_000 }, async () => {
  const { agent, urls, sessionId } = await begin()
  const all = new URL('/mcp', urls[1])
  const client = await story.connect(all)
  const name = (await client.listTools()).tools.map((tool) => tool.name).find((one) => one.includes('pid')) ?? ''
  const pidOf = async (): Promise<unknown> => (await client.callTool({ name, arguments: {} })).content
  const before = await pidOf()
  await startAgent()
  await eventually('the other agent', async () => ((await proxyIds()).filter((ids) => ids.length === 2).length === 2 ? true : undefined))
  agent.kill('SIGKILL')
  await agent.ended
  for (const url of urls) expect(await story.post(url)).toMatchObject({ status: 200 })
  expect(await untilGone({ agent, urls, sessionId })).toBeLessThan(10_000)
  const after = await succeeds('an answer of the other', () => pidOf())
  expect(after).not.toEqual(before)
})

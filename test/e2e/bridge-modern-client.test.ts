import { Client, type ClientOptions, StreamableHTTPClientTransport, type Transport } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findEverything } from '../../src/cli/server/demo.ts'
import { type DemoHttpServer, startDemoHttp } from '../../src/cli/server/demo-http.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { tshConnect } from '../tsh-connect.ts'
import { eventually, within } from '../wait.ts'

// The official SDK as a client of revision 2026-07-28 uses everything that the Everything server has, which speaks legacy revisions only.

const MODERN = '2026-07-28'
const LOG_LEVEL = 'io.modelcontextprotocol/logLevel'
const CAPABILITIES = { sampling: {}, elicitation: { form: {}, url: {} }, roots: {} }

let cluster: Cluster
let everythingHttp: DemoHttpServer
let token: string
let identity: string

beforeAll(async () => {
  cluster = await startCluster()
  everythingHttp = await startDemoHttp(findEverything())
  await cluster.saveStdioApp('everything', process.execPath, [findEverything(), 'stdio'])
  await cluster.saveHttpApp('everything-http', everythingHttp.url)
  await cluster.saveRole('all', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } }, deny: { mcp: { tools: ['get-env'] } } })
  await cluster.saveUser('alice', ['all'])
  token = await cluster.tokenOf('alice')
  identity = await cluster.identityFileOf('alice')
}, 60_000)

afterAll(async () => {
  await cluster.close()
  await everythingHttp.close()
})

const overHttp = (server: string): Transport =>
  new StreamableHTTPClientTransport(cluster.mcpUrl(server), { requestInit: { headers: { authorization: `Bearer ${token}` } } })

const overTsh = (server: string): Transport => new StdioClientTransport(tshConnect(cluster, identity, server))

/** A client that can be asked everything; `asked` counts by method. */
async function connect(
  transport: Transport,
  mode: 'auto' | { pin: string } = { pin: MODERN },
  capabilities: ClientOptions['capabilities'] = CAPABILITIES,
): Promise<{ client: Client; asked: string[]; notes: { method: string; params?: unknown }[] }> {
  const client = new Client({ name: 'modern', version: '1' }, { capabilities, versionNegotiation: { mode } })
  const asked: string[] = []
  const notes: { method: string; params?: unknown }[] = []
  if (capabilities?.sampling)
    client.setRequestHandler('sampling/createMessage', async ({ method }) => {
      asked.push(method)
      return { model: 'model-of-the-client', role: 'assistant' as const, content: { type: 'text' as const, text: 'sampled by the client' } }
    })
  if (capabilities?.elicitation)
    client.setRequestHandler('elicitation/create', async ({ method, params }) => {
      asked.push(`${method} ${params.mode ?? 'form'}`)
      return params.mode === 'url' ? { action: 'accept' as const } : { action: 'accept' as const, content: { name: 'Ada', check: true } }
    })
  if (capabilities?.roots)
    client.setRequestHandler('roots/list', async ({ method }) => {
      asked.push(method)
      return { roots: [{ uri: 'file:///srv/work', name: 'work' }] }
    })
  client.fallbackNotificationHandler = async (note) => void notes.push(note)
  await client.connect(transport)
  return { client, asked, notes }
}

const textOf = (result: unknown): string => JSON.stringify(result)

const ROUTES = [
  { route: 'an HTTP server over HTTP', server: 'everything-http', open: overHttp },
  { route: 'a stdio server over HTTP', server: 'everything', open: overHttp },
  { route: 'a stdio server over tsh mcp connect', server: 'everything', open: overTsh },
]

describe.each(ROUTES)('$route', ({ server, open }) => {
  it('refuses a tool that a role denies, and does not list it', async () => {
    const { client } = await connect(open(server))
    await expect(client.callTool({ name: 'get-env', arguments: {} })).rejects.toMatchObject({ code: -32602 })
    expect((await client.listTools()).tools.map(({ name }) => name)).not.toContain('get-env')
    await client.close()
  })

  it('negotiates, and uses tools, prompts, resources, templates and completion', async () => {
    const { client } = await connect(open(server), 'auto', {})
    expect([client.getProtocolEra(), client.getNegotiatedProtocolVersion()]).toEqual(['modern', MODERN])
    expect(client.getServerVersion()).toMatchObject({ name: 'mcp-servers/everything' })
    expect(client.getInstructions()).toContain('Everything')
    const { tools } = await client.listTools()
    expect(tools.map(({ name }) => name)).toContain('echo')
    expect(tools.filter(({ execution }) => execution !== undefined)).toEqual([])
    // What only clients with these capabilities are offered.
    expect(tools.map(({ name }) => name)).not.toContain('get-roots-list')
    expect(await client.callTool({ name: 'get-sum', arguments: { a: 2, b: 40.5 } })).toMatchObject({
      content: [{ text: 'The sum of 2 and 40.5 is 42.5.' }],
    })
    expect((await client.listPrompts()).prompts.length).toBeGreaterThan(2)
    expect(textOf(await client.getPrompt({ name: 'args-prompt', arguments: { city: 'Ulm' } }))).toContain('Ulm')
    expect((await client.listResources()).resources.length).toBeGreaterThan(2)
    expect((await client.listResourceTemplates()).resourceTemplates.length).toBe(2)
    expect(textOf(await client.readResource({ uri: 'demo://resource/dynamic/text/7' }))).toContain('demo://resource/dynamic/text/7')
    await expect(client.readResource({ uri: 'demo://nothing/here' })).rejects.toMatchObject({ code: -32602 })
    const completed = await client.complete({
      ref: { type: 'ref/prompt', name: 'completable-prompt' },
      argument: { name: 'department', value: 'S' },
    })
    expect(completed.completion.values).toContain('Sales')
    await client.close()
  })

  it('carries what the server asks: sampling, a form, a URL, roots', async () => {
    const { client, asked } = await connect(open(server))
    const sampled = await client.callTool({ name: 'trigger-sampling-request', arguments: { prompt: 'say something', maxTokens: 10 } })
    expect(textOf(sampled)).toContain('sampled by the client')
    expect(textOf(await client.callTool({ name: 'trigger-elicitation-request', arguments: {} }))).toContain('Ada')
    const url = { url: 'https://example.com/sign-in', elicitationId: 'one' }
    expect(textOf(await client.callTool({ name: 'trigger-url-elicitation', arguments: url }))).toContain('accept')
    expect(textOf(await client.callTool({ name: 'get-roots-list', arguments: {} }))).toContain('file:///srv/work')
    expect(new Set(asked)).toEqual(new Set(['sampling/createMessage', 'elicitation/create form', 'elicitation/create url', 'roots/list']))
    await client.close()
  })

  it('asks for the URLs that error -32042 names, and calls again', async () => {
    const { client, asked } = await connect(open(server))
    const args = { url: 'https://example.com/first', elicitationId: `by-error-${server}`, errorPath: true }
    expect(textOf(await client.callTool({ name: 'trigger-url-elicitation', arguments: args }))).toContain('accept')
    expect(asked.filter((one) => one === 'elicitation/create url').length).toBe(2)
    await client.close()
  })

  it('carries progress, and breaks off a call whose client goes away', async () => {
    const { client } = await connect(open(server), { pin: MODERN }, {})
    const progress: number[] = []
    const short = { name: 'trigger-long-running-operation', arguments: { duration: 0.2, steps: 2 } }
    await client.callTool(short, { onprogress: (one) => progress.push(one.progress) })
    // What comes in one piece with the answer the SDK may drop.
    expect(progress[0]).toBe(1)
    const away = new AbortController()
    const long = { name: 'trigger-long-running-operation', arguments: { duration: 60, steps: 600 } }
    const call = client.callTool(long, { signal: away.signal, onprogress: () => away.abort() })
    await expect(within('the end of the call', call)).rejects.not.toThrow('not within')
    expect(await client.callTool({ name: 'echo', arguments: { message: 'still here' } })).toMatchObject({
      content: [{ text: 'Echo: still here' }],
    })
    await client.close()
  })

  it('carries a subscription to a resource until the client ends it', async () => {
    const { client, notes } = await connect(open(server))
    const uri = 'demo://resource/dynamic/text/7'
    const subscription = await client.listen({ toolsListChanged: true, resourceSubscriptions: [uri] })
    expect(subscription.honoredFilter).toEqual({ toolsListChanged: true, resourceSubscriptions: [uri] })
    // The subscription is on its way when it is acknowledged; updates come every five seconds from when they are switched on.
    await client.callTool({ name: 'toggle-subscriber-updates', arguments: {} })
    await eventually('an update', () => notes.find(({ method }) => method === 'notifications/resources/updated'))
    await client.callTool({ name: 'toggle-subscriber-updates', arguments: {} })
    await subscription.close()
    expect(await subscription.closed).toBe('local')
    expect(notes.map(({ method }) => method)).not.toContain('notifications/message')
    await client.close()
  })
})

it('gives log messages of the level asked for to the request that asked', async () => {
  const { client, notes } = await connect(overHttp('everything'), { pin: MODERN }, {})
  const toggle = (level: string): Promise<unknown> =>
    client.callTool({ name: 'toggle-simulated-logging', arguments: {}, _meta: { [LOG_LEVEL]: level } })
  await toggle('debug')
  expect(notes.map(({ method }) => method)).toEqual(['notifications/message'])
  await client.callTool({ name: 'toggle-simulated-logging', arguments: {} })
  await client.callTool({ name: 'toggle-simulated-logging', arguments: {} })
  expect(notes.length).toBe(1)
  await client.close()
})

it('has every round of such a call in the audit log', async () => {
  const calls = await cluster.eventsOnceThere({ server: 'everything', tool: 'trigger-sampling-request' }, 2)
  expect(calls[0]).toMatchObject({ user: 'alice', outcome: 'success' })
})

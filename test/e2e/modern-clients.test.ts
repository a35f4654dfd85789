import { Client, StreamableHTTPClientTransport, type Transport } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Cluster, startCluster } from '../cluster.ts'
import { type ModernHttp, startModernHttp } from '../fakes/modern-server.ts'
import { ROOT } from '../programs.ts'
import { tshConnect } from '../tsh-connect.ts'
import { eventually, within } from '../wait.ts'

// Revision 2026-07-28 with the official SDK on both sides: no handshake, no sessions, every request for itself.

const MODERN = '2026-07-28'

let cluster: Cluster
let upstream: ModernHttp
let token: string
let identity: string

beforeAll(async () => {
  cluster = await startCluster()
  upstream = await startModernHttp()
  await cluster.saveHttpApp('modern-http', upstream.url)
  await cluster.saveStdioApp('modern-stdio', process.execPath, [join(ROOT, 'test/fakes/modern-server.ts')])
  await cluster.saveRole('all', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } }, deny: { mcp: { tools: ['forbidden'] } } })
  await cluster.saveUser('alice', ['all'])
  token = await cluster.tokenOf('alice')
  identity = await cluster.identityFileOf('alice')
}, 60_000)

afterAll(async () => {
  await cluster.close()
  await upstream.close()
})

const overHttp = (server: string): Transport =>
  new StreamableHTTPClientTransport(cluster.mcpUrl(server), { requestInit: { headers: { authorization: `Bearer ${token}` } } })

const overTsh = (server: string): Transport => new StdioClientTransport(tshConnect(cluster, identity, server))

async function connect(transport: Transport, mode: 'auto' | { pin: string }): Promise<Client> {
  const client = new Client({ name: 'modern', version: '1' }, { capabilities: { elicitation: { form: {} } }, versionNegotiation: { mode } })
  client.setRequestHandler('elicitation/create', async () => ({ action: 'accept', content: { colour: 'green' } }))
  await client.connect(transport)
  return client
}

const ROUTES = [
  { route: 'an HTTP server over HTTP', server: 'modern-http', open: overHttp },
  { route: 'a stdio server over HTTP', server: 'modern-stdio', open: overHttp },
  { route: 'an HTTP server over tsh mcp connect', server: 'modern-http', open: overTsh },
  { route: 'a stdio server over tsh mcp connect', server: 'modern-stdio', open: overTsh },
]

describe.each(ROUTES)('$route', ({ server, open }) => {
  it('refuses a tool that a role denies', async () => {
    const client = await connect(open(server), 'auto')
    await expect(client.callTool({ name: 'forbidden', arguments: {} })).rejects.toMatchObject({
      code: -32602,
      message: expect.stringContaining('denied'),
    })
    await client.close()
  })

  it('negotiates, and uses tools, prompts and resources', async () => {
    const client = await connect(open(server), 'auto')
    expect(client.getProtocolEra()).toBe('modern')
    expect(client.getNegotiatedProtocolVersion()).toBe(MODERN)
    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['add', 'paint', 'wait', 'announce'])
    expect(await client.callTool({ name: 'add', arguments: { a: 2, b: 3 } })).toMatchObject({ content: [{ type: 'text', text: '5' }] })
    expect(await client.readResource({ uri: 'note://one' })).toMatchObject({ contents: [{ text: 'a note' }] })
    expect(await client.getPrompt({ name: 'greet', arguments: { name: 'Ada' } })).toMatchObject({
      messages: [{ content: { text: 'Hello Ada' } }],
    })
    await client.close()
  })

  it('carries the round trip of a tool that asks for input', async () => {
    const client = await connect(open(server), { pin: MODERN })
    expect(await client.callTool({ name: 'paint', arguments: { what: 'the gate' } })).toMatchObject({
      content: [{ text: 'painting the gate green' }],
    })
    await client.close()
  })

  it('carries a subscription until the client ends it', async () => {
    const client = await connect(open(server), { pin: MODERN })
    const changed = Promise.withResolvers<void>()
    client.setNotificationHandler('notifications/tools/list_changed', async () => changed.resolve())
    const subscription = await client.listen({ toolsListChanged: true })
    expect(subscription.honoredFilter).toEqual({ toolsListChanged: true })
    if (server === 'modern-http') upstream.toolsChanged()
    else await client.callTool({ name: 'announce', arguments: {} })
    await within('the notification', changed.promise)
    await subscription.close()
    expect(await subscription.closed).toBe('local')
    expect(await client.callTool({ name: 'add', arguments: { a: 1, b: 1 } })).toMatchObject({ content: [{ text: '2' }] })
    await client.close()
  })

  it('breaks off a call whose client goes away, and goes on', async () => {
    const client = await connect(open(server), { pin: MODERN })
    const cancelledBefore = upstream.cancelled()
    const away = new AbortController()
    const call = client.callTool({ name: 'wait', arguments: {} }, { signal: away.signal, onprogress: () => away.abort() })
    await expect(within('the end of the call', call)).rejects.not.toThrow('not within')
    if (server === 'modern-http') await eventually('the cancellation', () => upstream.cancelled() > cancelledBefore || undefined)
    expect(await client.callTool({ name: 'add', arguments: { a: 1, b: 1 } })).toMatchObject({ content: [{ text: '2' }] })
    await client.close()
  })
})

it('has the calls of this era in the audit log, with their revision', async () => {
  const [start] = await cluster.eventsOnceThere({ server: 'modern-http', type: 'mcp.session.start' }, 1)
  expect(start).toMatchObject({ protocol_version: MODERN, client_info: 'modern/1', user: 'alice' })
  const calls = await cluster.eventsOnceThere({ server: 'modern-http', tool: 'paint' }, 4)
  expect(calls.map((call) => call['outcome'])).toEqual(['success', 'success', 'success', 'success'])
})

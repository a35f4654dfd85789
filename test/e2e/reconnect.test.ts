import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { CreateMessageRequestSchema } from '@modelcontextprotocol/sdk/types.js'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Cluster, startCluster } from '../cluster.ts'
import { json, type ScriptedHttp, startScriptedHttp } from '../fakes/scripted-http.ts'
import { ROOT } from '../programs.ts'
import { eventually, within } from '../wait.ts'
import { wholeList } from '../whole-list.ts'

// The connection of a client breaks while a server works on its call. Neither server knows of event ids: the gateway lets the client come back.

const TOOL = '{"name":"long","inputSchema":{"type":"object"}}'

let cluster: Cluster
let http: ScriptedHttp

beforeAll(async () => {
  cluster = await startCluster()
  http = await startScriptedHttp()
  await cluster.saveStdioApp('stdio', process.execPath, [join(ROOT, 'test/fakes/echo-stdio.ts')])
  await cluster.saveHttpApp('http', http.url)
  await cluster.saveRole('all', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } })
  await cluster.saveUser('ana', ['all'])
})

afterAll(async () => {
  await cluster?.close()
  await http?.close()
})

/** A client whose POSTs can be cut off; it comes back by itself. */
async function connect(url: URL): Promise<{ client: Client; cut: () => void; gets: string[] }> {
  const posts = new Set<AbortController>()
  const gets: string[] = []
  const transport = new StreamableHTTPClientTransport(url, {
    requestInit: { headers: { authorization: `Bearer ${await cluster.tokenOf('ana')}` } },
    reconnectionOptions: { initialReconnectionDelay: 20, maxReconnectionDelay: 20, reconnectionDelayGrowFactor: 1, maxRetries: 3 },
    fetch: async (url, init) => {
      if (init?.method === 'GET') gets.push(new Headers(init.headers).get('last-event-id') ?? '')
      if (init?.method !== 'POST') return fetch(url, init)
      const own = new AbortController()
      posts.add(own)
      return fetch(url, { ...init, signal: init.signal ? AbortSignal.any([init.signal, own.signal]) : own.signal })
    },
  })
  const client = new Client({ name: 'test', version: '1' }, { capabilities: { sampling: {} } })
  await client.connect(transport)
  return { client, cut: () => posts.forEach((post) => post.abort()), gets }
}

/** The events of calls of a tool that are not among these, once there are any. */
const recorded = (server: string, name: string, before: readonly unknown[] = []) =>
  eventually('the event of the call', async () => {
    const calls = (await cluster.events({ server, type: 'mcp.session.request' })).filter(({ tool }) => tool === name)
    return calls.length > before.length ? calls.slice(before.length) : undefined
  })
/** Of the tests so far. */
const earlier: unknown[] = []

test.each([
  ['that tells of its progress', 'work'],
  ['that says nothing before its answer', 'ask'],
])('a call of a program %s is answered after the client has come back', async (_, name) => {
  const { client, cut, gets } = await connect(cluster.mcpUrl('stdio'))
  const begun = Promise.withResolvers<unknown>()
  client.setRequestHandler(CreateMessageRequestSchema, async () => {
    await begun.promise
    cut()
    return { model: 'm', role: 'assistant', content: { type: 'text', text: 'said' } }
  })
  const options = { onprogress: () => undefined, onresumptiontoken: begun.resolve }
  const answer = await within('the answer', client.callTool({ name, arguments: {} }, undefined, options))
  expect(JSON.stringify(answer.content)).toContain('said')
  expect(gets.filter((id) => id !== '')).toHaveLength(1)
  await client.close()
  expect(await recorded('stdio', name)).toMatchObject([{ success: true }])
})

test.each([
  ['at its own URL', '/mcp/apps/http', false],
  ['at the URL of all servers', '/mcp', true],
])('a call of an HTTP server without event ids %s is answered after the client has come back', async (_, path, isBackBefore) => {
  http.bodies.length = 0
  const working = Promise.withResolvers<{ id: string; response: ServerResponse }>()
  http.script = (id, body, response) => {
    if (body.includes('tools/list')) return json(response, `{"jsonrpc":"2.0","id":${id},"result":{"tools":[${TOOL}]}}`)
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"at work"}}\n\n')
    working.resolve({ id, response })
  }
  const { client, cut, gets } = await connect(new URL(path, cluster.url))
  const said = Promise.withResolvers<void>()
  client.fallbackNotificationHandler = async () => said.resolve()
  const { tools } = await wholeList(() => client.listTools())
  const called = client.callTool({ name: tools.find((tool) => tool.name.includes('long'))?.name ?? '', arguments: {} })
  const { id, response } = await working.promise
  await within('the first event', said.promise)
  cut()
  if (isBackBefore) await eventually('its coming back', () => gets.find((last) => last !== ''))
  response.end(`data: {"jsonrpc":"2.0","id":${id},"result":{"content":[{"type":"text","text":"done"}]}}\n\n`)
  expect(await within('the answer', called)).toMatchObject({ content: [{ type: 'text', text: 'done' }] })
  await client.close()
  expect(http.bodies.filter((body) => body.includes('tools/call'))).toHaveLength(1)
  const events = await recorded('http', 'long', earlier)
  expect(events).toMatchObject([{ success: true }])
  earlier.push(...events)
})

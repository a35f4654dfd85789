import type { ServerResponse } from 'node:http'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Cluster, startCluster } from '../cluster.ts'
import { askHttp, openHttp, type OpenAnswer } from '../fakes/raw-http.ts'
import { headersOf, openSession, postMessage } from '../fakes/raw-mcp.ts'
import { type SessionHttp, type SessionHttpWays, startSessionHttp } from '../fakes/session-http.ts'

// Servers that are in use and do one thing or the other in a way of their own, without harm when a client talks to them directly.

let cluster: Cluster
let token: string
const servers: SessionHttp[] = []

beforeAll(async () => {
  cluster = await startCluster()
  await cluster.saveRole('all', { allow: { app_labels: { '*': '*' }, mcp: { tools: ['*'] } } })
  await cluster.saveUser('alice', ['all'])
  token = await cluster.tokenOf('alice')
}, 60_000)

afterAll(async () => {
  await cluster?.close()
  for (const server of servers) await server.close()
})

/** A server that is registered, and where a client reaches it. */
async function serve(name: string, ways: SessionHttpWays): Promise<{ server: SessionHttp; url: URL }> {
  const server = await startSessionHttp(ways)
  servers.push(server)
  await cluster.saveHttpApp(name, server.url)
  return { server, url: cluster.mcpUrl(name) }
}

async function call(url: URL, session: string, tool = 'which'): Promise<string> {
  const body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"${tool}","arguments":{}}}`
  return (await postMessage(url, token, session, body)).text
}

function listen(url: URL, session: string): Promise<OpenAnswer> {
  return openHttp(url, { method: 'GET', headers: headersOf(token, { accept: 'text/event-stream', 'mcp-session-id': session }) })
}

test('an answer of 404 or 400 to GET is no end of the session', async () => {
  const ways = [
    (response: ServerResponse) => void response.writeHead(404, { 'content-type': 'text/html' }).end('Cannot GET /mcp'),
    (response: ServerResponse) => void response.writeHead(400).end('Invalid or missing session ID'),
  ]
  for (const [n, get] of ways.entries()) {
    const { server, url } = await serve(`no-get-${n}`, { get })
    const session = await openSession(url, token)
    for (const _ of [1, 2]) {
      const stream = await listen(url, session)
      // Its tools may change with roles, of which the gateway tells.
      expect(stream.status).toBe(200)
      stream.leave()
    }
    expect(await call(url, session)).toContain('"session 1"')
    expect(server.taken).toEqual(['initialize 1', 'GET 1', 'ping 1', 'GET 1', 'ping 1', 'tools/call 1'])
  }
})

test('a page for people at GET is no stream', async () => {
  const { server, url } = await serve('page', {
    get: (response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>MCP</h1>'),
  })
  const session = await openSession(url, token)
  const stream = await listen(url, session)
  expect(stream.status).toBe(200)
  stream.leave()
  expect(await stream.ended).not.toContain('<h1>')
  expect(await call(url, session)).toContain('"session 1"')
  expect(server.taken).toEqual(['initialize 1', 'GET 1', 'tools/call 1'])
})

test.each([201, 203, 299])('an answer with HTTP %i is one', async (status) => {
  const { url } = await serve(`status-${status}`, { status })
  expect(await call(url, await openSession(url, token))).toBe(
    '{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"session 1"}]}}',
  )
})

test('GET in a session that the server lost begins it anew', async () => {
  const { server, url } = await serve('lost-get', {
    get: (response, isKnown) =>
      isKnown ? response.writeHead(200, { 'content-type': 'text/event-stream' }).write(':\n\n') : response.writeHead(404).end(),
  })
  const session = await openSession(url, token)
  server.forget()
  const stream = await listen(url, session)
  expect(stream.status).toBe(200)
  stream.leave()
  expect(await call(url, session)).toContain('"session 2"')
  expect(server.taken.slice(0, 5)).toEqual(['initialize 1', 'GET 1', 'ping 1', 'DELETE 1', 'initialize 2'])
})

test.each([
  ['no such session', '{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":null}'],
  [
    'a server that was not initialized',
    '{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: Server not initialized"},"id":null}',
  ],
  ['plain words', 'Invalid session ID'],
])('a lost session that is told with 400 begins anew: %s', async (what, body) => {
  const { server, url } = await serve(`lost-${what.replaceAll(' ', '-')}`, { unknown: (response) => response.writeHead(400).end(body) })
  const session = await openSession(url, token)
  expect(await call(url, session)).toContain('"session 1"')
  server.forget()
  expect(await call(url, session)).toContain('"session 2"')
  expect(server.taken.slice(1, 6)).toEqual(['tools/call 1', 'tools/call 1', 'ping 1', 'DELETE 1', 'initialize 2'])
})

test('400 for another reason is passed on, and the session goes on', async () => {
  const { server, url } = await serve('picky', { refused: /"which"/ })
  const session = await openSession(url, token)
  expect(await call(url, session)).toBe('{"jsonrpc":"2.0","error":{"code":-32602,"message":"no session of yours has this tool"},"id":1}')
  expect(await call(url, session, 'other')).toContain('"session 1"')
  expect(server.taken).toEqual(['initialize 1', 'tools/call 1', 'ping 1', 'tools/call 1'])
})

test('404 for a method that a server does not know is no end of the session', async () => {
  const { server, url } = await serve('lacking', { lacks: /^(?:prompts|ping)/, get: (response) => response.writeHead(404).end() })
  const session = await openSession(url, token)
  for (const id of [1, 2, 3]) {
    const answer = await postMessage(url, token, session, `{"jsonrpc":"2.0","id":${id},"method":"prompts/list"}`)
    expect([answer.status, JSON.parse(answer.text)]).toEqual([
      200,
      { jsonrpc: '2.0', id, error: { code: -32601, message: 'Method not found' } },
    ])
  }
  for (const _ of [1, 2]) (await listen(url, session)).leave()
  expect(await call(url, session)).toContain('"session 1"')
  expect(server.taken.filter((one) => one.startsWith('initialize'))).toEqual(['initialize 1'])
})

test('a redirect says where to', async () => {
  for (const [n, [location, shown]] of [
    ['http://127.0.0.1:9/mcp/?token=hidden', 'http://127.0.0.1:9/mcp/'],
    ['/mcp/?token=hidden', '/mcp/'],
  ].entries()) {
    const { url } = await serve(`moved-${n}`, { moved: location })
    const body =
      '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"raw","version":"1"}}}'
    const answer = await askHttp(url, { headers: headersOf(token), body })
    expect(JSON.parse(answer.text)).toEqual({
      jsonrpc: '2.0',
      id: 0,
      error: {
        code: -32603,
        message: `MCP server "moved-${n}" redirects to ${shown} (HTTP 307); redirects are not followed: set spec.uri to the final address`,
      },
    })
  }
})

test('a server of the revision before the first that was published', async () => {
  const { url } = await serve('ancient', { revision: '2024-10-07' })
  const client = new Client({ name: 'test', version: '1' })
  await client.connect(new StreamableHTTPClientTransport(url, { requestInit: { headers: { authorization: `Bearer ${token}` } } }))
  expect(await client.callTool({ name: 'which' })).toEqual({ content: [{ type: 'text', text: 'session 1' }] })
  await client.close()
})

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type Cluster, startCluster } from '../cluster.ts'
import { headersOf, openSession, postMessage } from '../fakes/raw-mcp.ts'
import { askHttp, openHttp, type RawAnswer } from '../fakes/raw-http.ts'
import { json, type ScriptedHttp, sse, startScriptedHttp } from '../fakes/scripted-http.ts'
import { ECHO_STDIO } from '../fakes/stdio-app.ts'
import { eventually } from '../wait.ts'

// What a hostile client, or a hostile server, tries. Nothing of a refused call may reach the server, which keeps all it gets.

let cluster: Cluster
let server: ScriptedHttp
let token: string
let session: string

beforeAll(async () => {
  server = await startScriptedHttp()
  cluster = await startCluster()
  await cluster.saveHttpApp('web', server.url)
  await cluster.saveHttpApp('web2', server.url)
  await cluster.saveStdioApp('local', process.execPath, [ECHO_STDIO])
  await cluster.saveRole('guest', {
    allow: { app_labels: { env: 'test' }, mcp: { tools: ['get-*', '^echo$', 'received', 'hang', 'pid'], resources: ['file:///pub/*'] } },
    deny: { mcp: { tools: ['get-secret'] } },
  })
  await cluster.saveUser('ana', ['guest'])
  await cluster.saveUser('bob', ['guest'])
  token = await cluster.tokenOf('ana')
  session = await open('web')
})

afterAll(async () => {
  await cluster.close()
  await server.close()
})

beforeEach(() => {
  server.bodies.length = 0
  server.script = (id, _, response) => json(response, `{"jsonrpc":"2.0","id":${id},"result":{"content":[]}}`)
})

function post(
  body: string | Buffer,
  { app = 'web', id = session, bearer = token }: { app?: string; id?: string; bearer?: string } = {},
): Promise<RawAnswer> {
  return postMessage(cluster.mcpUrl(app), bearer, id, body)
}

const open = (app: string): Promise<string> => openSession(cluster.mcpUrl(app), token)

const call = (id: string, params: string) => `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":${params}}`

test.each([
  ['two names', call('1', '{"name":"echo","name":"rm_all"}')],
  ['two names, the denied one first', call('1', '{"name":"rm_all","name":"echo"}')],
  ['a second name, escaped', call('1', '{"name":"echo","na\\u006de":"rm_all"}')],
  ['a Name beside the name', call('1', '{"name":"echo","Name":"rm_all"}')],
  ['a NAME instead of the name', call('1', '{"NAME":"rm_all"}')],
  ['a name with a fullwidth letter folded', call('1', '{"name":"echo","argument\u017f":{}}')],
  ['a Kelvin sign', call('1', '{"name":"echo","progressTo\u212aen":1}')],
  ['two params', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"},"params":{"name":"rm_all"}}'],
  ['two methods', '{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"rm_all"}}'],
  ['a Method', '{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call","params":{"name":"rm_all"}}'],
  ['a method that is a number', '{"jsonrpc":"2.0","id":1,"method":7,"params":{"name":"rm_all"}}'],
  ['params that are a list', call('1', '["rm_all"]')],
  ['two ids', '{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/call","params":{"name":"rm_all"}}'],
  ['an id of null', call('null', '{"name":"rm_all"}')],
  ['an id that is an object', call('{}', '{"name":"rm_all"}')],
  ['an id that is a boolean', call('true', '{"name":"rm_all"}')],
  ['great depth', call('1', `{"name":"echo","arguments":{"a":${'['.repeat(200)}${']'.repeat(200)}}}`)],
  ['an absurd depth', '['.repeat(1_000_000)],
  ['a byte order mark', `\ufeff${call('1', '{"name":"rm_all"}')}`],
  ['UTF-16', Buffer.from(call('1', '{"name":"rm_all"}'), 'utf16le')],
  ['invalid UTF-8', Buffer.from('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"\xff"}}', 'latin1')],
  ['a NUL', `${call('1', '{"name":"rm_all"}')}\0`],
  ['two messages', `${call('1', '{"name":"echo"}')}\n${call('2', '{"name":"rm_all"}')}`],
  ['a batch outside of 2025-03-26', `[${call('1', '{"name":"echo"}')}]`],
  ['an empty batch', '[]'],
  ['nothing', ''],
])('%s: refused with 400, recorded, not sent', async (what, body) => {
  const { status, text } = await post(body)
  expect([what, status]).toEqual([what, 400])
  expect(JSON.parse(text)).toMatchObject({ jsonrpc: '2.0', error: { code: expect.any(Number) } })
  expect(server.bodies).toEqual([])
})

test('each of those left an event', async () => {
  const events = await cluster.eventsOnceThere({ user: 'ana', type: 'mcp.session.invalid_http_request' }, 26)
  expect(events).toHaveLength(26)
  expect(events[0]).toMatchObject({
    code: 'TMCP006E',
    outcome: 'failure',
    server: 'web',
    path: '/mcp/apps/web',
    method: 'POST',
    credential: { kind: 'api_token' },
  })
})

test.each([
  ['no name', '{}'],
  ['no name but arguments', '{"arguments":{"name":"echo"}}'],
  ['a name that is a number', '{"name":7}'],
  ['a name that is a list', '{"name":["echo"]}'],
  ['a name that is null', '{"name":null}'],
  ['a name from a prototype', '{"__proto__":{"name":"echo"}}'],
  ['the constructor', '{"constructor":{"name":"echo"}}'],
  ['another name', '{"name":"rm_all"}'],
  ['white space', '{"name":" echo"}'],
  ['a line end', '{"name":"echo\\n"}'],
  ['a NUL', '{"name":"echo\\u0000"}'],
  ['other case', '{"name":"Echo"}'],
  ['a denied name', '{"name":"get-secret"}'],
  ['a huge name', `{"name":"${'x'.repeat(100_000)}"}`],
])('a call with %s is denied on HTTP 200 with -32602', async (_, params) => {
  const { status, text } = await post(call('"d"', params))
  expect(status).toBe(200)
  expect(JSON.parse(text)).toMatchObject({ jsonrpc: '2.0', id: 'd', error: { code: -32602 } })
  expect(server.bodies).toEqual([])
})

test('each denial left one event that names who denied', async () => {
  const events = await cluster.eventsOnceThere({ user: 'ana', outcome: 'denied' }, 14)
  expect(events).toHaveLength(14)
  for (const event of events) expect(event).toMatchObject({ event: 'mcp.session.request', code: 'TMCP003E', success: false })
  expect(events[12]).toMatchObject({ tool: 'get-secret', decision: { allow: false, by: 'guest', kind: 'deny_rule' } })
})

test.each(['1', '-7', '18446744073709551616', '1.0', '1e3', '"a"', '""', '"\u00e9\u{1f600}"', '"\\u00e9\\/"', `"${'x'.repeat(5000)}"`])(
  'the id %.30s comes back as it was, whether denied or allowed',
  async (id) => {
    expect((await post(call(id, '{"name":"rm_all"}'))).text.startsWith(`{"jsonrpc":"2.0","id":${id},"error":`)).toBe(true)
    expect((await post(call(id, '{"name":"echo"}'))).text).toBe(`{"jsonrpc":"2.0","id":${id},"result":{"content":[]}}`)
    expect(server.bodies).toEqual([call(id, '{"name":"echo"}')])
  },
)

test('what was judged is what is sent, to the byte', async () => {
  const body =
    ' {\r\n "jsonrpc": "2.0", "id": 3, "method": "tools/call", "x": 1.0,\n "params": {"name": "echo", "arguments": {"n": 12345678901234567890, "s": "\\u0041"}} }\n'
  await post(body)
  expect(server.bodies).toEqual([body])
})

test('a message stays one line on its way to a program', async () => {
  const local = await open('local')
  const pretty =
    '{\n "jsonrpc": "2.0",\r "id": 5, \r\n"method": "tools/call", "params": {\n"name": "received", "arguments": {"s": "a\\nb\\r"}}}'
  const { text } = await post(pretty, { app: 'local', id: local })
  const lines: string[] = JSON.parse(JSON.parse(text).result.content[0].text)
  expect(lines).toHaveLength(2)
  expect(JSON.parse(lines[1] ?? '')).toEqual(JSON.parse(pretty))
})

test('a session is nobody else’s, and of one server only', async () => {
  const bob = await cluster.tokenOf('bob')
  expect((await post(call('1', '{"name":"echo"}'), { bearer: bob })).status).toBe(404)
  expect((await post(call('1', '{"name":"echo"}'), { app: 'web2' })).status).toBe(404)
  expect((await post(call('1', '{"name":"echo"}'), { id: 'upstream-1' })).status).toBe(404)
  expect((await askHttp(cluster.mcpUrl('web'), { headers: headersOf(token), body: call('1', '{"name":"echo"}') })).status).toBe(400)
  for (const method of ['GET', 'DELETE']) {
    expect((await askHttp(cluster.mcpUrl('web'), { method, headers: headersOf(bob, { 'mcp-session-id': session }) })).status).toBe(404)
  }
  expect(server.bodies).toEqual([])
  expect((await post(call('1', '{"name":"echo"}'))).status).toBe(200)
  expect((await cluster.eventsOnceThere({ user: 'bob' }, 3)).filter(({ success }) => success === false)).toHaveLength(3)
})

test('nobody chooses the id of a session, and a second initialize is a second session', async () => {
  const body = '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}'
  const { headers } = await askHttp(cluster.mcpUrl('web'), { headers: headersOf(token, { 'mcp-session-id': 'chosen-by-me' }), body })
  expect(headers['mcp-session-id']).toMatch(/^[\w-]{32,}$/)
  const again = await askHttp(cluster.mcpUrl('web'), { headers: headersOf(token, { 'mcp-session-id': session }), body })
  expect(again.headers['mcp-session-id']).not.toBe(session)
  expect((await post(call('1', '{"name":"echo"}'))).status).toBe(200)
})

test('credentials of this hop and the session id of the other do not travel', async () => {
  const { headers } = await post(call('1', '{"name":"echo"}'))
  expect(JSON.stringify(headers)).not.toContain('upstream-')
  expect(server.bodies.join()).not.toContain(token)
})

const TOOLS =
  '{"tools":[{"name":"get-a","n":1.0,"big":12345678901234567890},{"name":"get-secret"},{"name":"rm_all"}],"nextCursor":"x","_meta":{"k":1e3}}'
const FILTERED = '{"tools":[{"name":"get-a","n":1.0,"big":12345678901234567890}],"nextCursor":"x","_meta":{"k":1e3}}'

test('lists are filtered in JSON, in events and when resumed', async () => {
  server.script = (id, _, response) => json(response, `{"jsonrpc":"2.0","id":${id},"result":${TOOLS}}`)
  expect((await post('{"jsonrpc":"2.0","id":1,"method":"tools/list"}')).text).toBe(`{"jsonrpc":"2.0","id":1,"result":${FILTERED}}`)
  server.script = (id, _, response) => sse(response, `{"jsonrpc":"2.0","id":${id},"result":${TOOLS}}`)
  expect((await post('{"jsonrpc":"2.0","id":2,"method":"tools/list"}')).text).toBe(
    `data: {"jsonrpc":"2.0","id":2,"result":${FILTERED}}\n\n`,
  )

  server.script = (_, __, response) =>
    void response.writeHead(200, { 'content-type': 'text/event-stream' }).end('id: 7\nretry: 10\ndata:\n\n')
  expect((await post('{"jsonrpc":"2.0","id":3,"method":"tools/list"}')).text).toBe('id: 7\nretry: 10\ndata:\n\n')
  const stream = await openHttp(cluster.mcpUrl('web'), {
    method: 'GET',
    headers: headersOf(token, { 'mcp-session-id': session, 'last-event-id': '7' }),
  })
  const [upstream] = await eventually('the stream at the server', () => (server.streams.size > 0 ? [...server.streams] : undefined))
  upstream?.write(`id: 8\ndata: {"jsonrpc":"2.0","id":4,"result":${TOOLS}}\n\nid: 9\ndata: {"jsonrpc":"2.0","id":3,"result":${TOOLS}}\n\n`)
  await eventually('the list', () => (stream.text().includes(`id: 9\n`) ? true : undefined))
  expect(stream.text()).toBe(
    `: keep-alive\n\n: open\n\ndata: {"jsonrpc":"2.0","id":3,"result":${FILTERED}}\n\n`.replace('data: {', 'id: 9\ndata: {'),
  )
  stream.leave()
})

test.each(['{"tools":null}', '{}', '{"tools":{"name":"echo"}}', '7'])('a list that is %s is an error of the server', async (result) => {
  server.script = (id, _, response) => json(response, `{"jsonrpc":"2.0","id":${id},"result":${result}}`)
  const { status, headers, text } = await post('{"jsonrpc":"2.0","id":1,"method":"tools/list"}')
  expect(status).toBe(502)
  expect(headers['sallyport-error-origin']).toBe('upstream')
  expect(JSON.parse(text)).toMatchObject({ id: 1, error: { message: expect.stringContaining('readable list "tools"') } })
})

test('an error of the server stays as it is', async () => {
  const error = '{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"mine","data":{"n":1.00}}}'
  server.script = (_, __, response) => json(response, error)
  expect((await post(call('1', '{"name":"echo"}'))).text).toBe(error)
})

test('what a client changes its mind about at the server is its own', async () => {
  const other = await open('web')
  server.bodies.length = 0
  expect((await post('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}', { id: other })).status).toBe(202)
  expect((await post('{"jsonrpc":"2.0","id":77,"result":{"content":[]}}')).status).toBe(400)
  expect((await post('{"jsonrpc":"2.0","method":"notifications/unheard-of"}')).status).toBe(202)
  expect(server.bodies).toEqual([])
})

test('a forged assertion is refused and recorded, without a name', async () => {
  const { status, text } = await post(call('9', '{"name":"echo"}'), { bearer: 'eyJhbGciOiJub25lIn0.e30.x' })
  expect(status).toBe(401)
  expect(JSON.parse(text)).toMatchObject({
    error: { message: expect.stringContaining('a route assertion is accepted only from the client') },
  })
  expect(server.bodies).toEqual([])
  const [event] = await cluster.eventsOnceThere({ type: 'api_token.use.failure' }, 1)
  expect(event).toMatchObject({ success: false, error: 'API token not valid' })
  expect(event).not.toHaveProperty('user')
})

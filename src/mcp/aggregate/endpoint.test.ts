import { expect, test } from 'vitest'
import { createFixture, fakeMember, MODERN, NOW, settle } from './aggregate.fixture.ts'

const names = (answer: { json: { result: { tools: { name: string }[] } } }) => answer.json.result.tools.map(({ name }) => name)
const at = (session: string) => ({ 'mcp-session-id': session })
const streaming = (session: string, more = {}) => ({ method: 'GET', headers: { ...at(session), accept: 'text/event-stream', ...more } })

test('the session of somebody else is as unknown as one that never was', async () => {
  const f = createFixture([fakeMember('a', ['x'])])
  const session = await f.open()
  for (const method of ['POST', 'GET', 'DELETE']) {
    const text = method === 'POST' ? '{"jsonrpc":"2.0","id":7,"method":"ping"}' : ''
    const answer = await f.ask({ method, text, headers: { ...at(session), accept: '*/*' } }, f.view('user:bob'))
    expect([method, answer.status, answer.json.error.code]).toEqual([method, 404, -32001])
  }
  expect((await f.call(session, 'ping')).json).toEqual({ jsonrpc: '2.0', id: 1, result: {} })
})

test.each([
  ['no session', {}, 400, -32600],
  ['a made-up session', at('made-up'), 404, -32001],
  ['an unknown revision', { 'mcp-protocol-version': '1999-01-01' }, 400, -32600],
])('a legacy request with %s is refused', async (_, headers, status, code) => {
  const f = createFixture([])
  const answer = await f.ask({ text: '{"jsonrpc":"2.0","id":7,"method":"ping"}', headers })
  expect([answer.status, answer.json.id, answer.json.error.code]).toEqual([status, 7, code])
})

test.each([
  ['no JSON', 'x', 400, -32700],
  ['a duplicate key', '{"jsonrpc":"2.0","id":1,"method":"ping","method":"ping"}', 400, -32600],
])('a body with %s is refused', async (_, text, status, code) => {
  const f = createFixture([])
  const answer = await f.ask({ text })
  expect([answer.status, answer.json.error.code]).toEqual([status, code])
})

test.each([
  ['another name', { 'mcp-name': 'b_x' }],
  ['another method', { 'mcp-method': 'tools/list' }],
  ['another revision', { 'mcp-protocol-version': '2025-11-25' }],
])('headers that say %s than the body are refused', async (_, headers) => {
  const a = fakeMember('a', ['x'])
  const f = createFixture([a])
  await f.modern('tools/list')
  const answer = await f.modern('tools/call', { name: 'a_x' }, 2, headers)
  expect([answer.status, answer.json.error.code]).toEqual([400, -32020])
  expect(a.methods()).toEqual(['server/discover', 'tools/list'])
})

test('who has to leave is refused on every request, and loses sessions and streams', async () => {
  const f = createFixture([fakeMember('a', ['x'])])
  const session = await f.open()
  const stream = f.send(streaming(session))
  const listen = f.send(f.modernRequest('subscriptions/listen', { notifications: { toolsListChanged: true } }))
  await f.timers.advance(2000)
  f.standing.reason = 'you are locked out'
  expect((await f.call(session, 'ping')).status).toBe(403)
  f.endpoint.sweep()
  expect(await stream.ended).toBe('ended')
  expect(stream.text).toContain(': you are locked out')
  expect(await listen.ended).toBe('ended')
  expect(listen.events.at(-1)).toMatchObject({ id: 1, result: { resultType: 'complete' } })
  f.standing.reason = undefined
  expect((await f.call(session, 'ping')).status).toBe(404)
})

test('cut ends what belongs to an owner, and nothing else', async () => {
  const f = createFixture([])
  const [mine, theirs] = [await f.open(), await f.open({ owner: 'user:bob' })]
  f.endpoint.cut((owner) => (owner === 'user:bob' ? 'out' : undefined))
  expect((await f.call(mine, 'ping')).status).toBe(200)
  const ping = { text: '{"jsonrpc":"2.0","id":1,"method":"ping"}', headers: at(theirs) }
  expect((await f.ask(ping, f.view('user:bob'))).status).toBe(404)
})

test('a credential that has expired is refused, and its session ends', async () => {
  const f = createFixture([])
  const session = await f.open()
  f.clock.now = NOW + 3_600_000
  expect((await f.call(session, 'ping')).status).toBe(401)
  f.endpoint.sweep()
  f.views = { expiresAt: NOW + 7_200_000 }
  expect((await f.call(session, 'ping')).status).toBe(404)
})

test('initialize is answered before any member is asked, and with the members’ own words the next time', async () => {
  const a = fakeMember('a', ['x'])
  const f = createFixture([{ ...a, description: 'about a', serve: a.serve }])
  const text =
    '{"jsonrpc":"2.0","id":1.0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}'
  const answer = await f.ask({ text })
  expect(a.calls).toEqual([])
  expect(answer.text.startsWith('{"jsonrpc":"2.0","id":1.0,')).toBe(true)
  expect(answer.json.result).toMatchObject({
    protocolVersion: '2025-06-18',
    serverInfo: { name: 'gate', version: '9' },
    capabilities: { tools: { listChanged: true }, resources: { subscribe: true, listChanged: true }, completions: {}, logging: {} },
  })
  expect(answer.json.result.instructions).toContain('## a\nabout a')
  await f.call(answer.headers['mcp-session-id'] ?? '', 'tools/list')
  expect((await f.ask({ text })).json.result.instructions).toContain('about a\nsay a')
})

test('initialize does not wait for members that cannot be had', async () => {
  const f = createFixture([])
  f.views = { members: () => new Promise(() => undefined) }
  const answer = f.send({ text: '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"1999-01-01"}}' })
  await f.timers.advance(250)
  expect(answer.json.result.protocolVersion).toBe('2025-11-25')
})

test('a session is opened with each member once, with the client’s own initialize', async () => {
  const [a, b] = [fakeMember('a', ['x']), fakeMember('b', ['y'])]
  const f = createFixture([b, a])
  const session = await f.open({ client: 'my client' })
  expect(names(await f.call(session, 'tools/list'))).toEqual(['a_x', 'b_y'])
  expect(names(await f.call(session, 'tools/list', {}, 2))).toEqual(['a_x', 'b_y'])
  expect(a.methods()).toEqual(['initialize', 'notifications/initialized', 'tools/list', 'tools/list'])
  expect(a.calls[0]?.message.params).toMatchObject({ protocolVersion: '2025-11-25', clientInfo: { name: 'my client' } })
  expect(a.calls[2]?.headers).toMatchObject({ 'mcp-session-id': 'a-1', 'mcp-protocol-version': '2025-11-25' })
})

test.each(['7', '"7"', '12345678901234567890', '1.50', '"\\u0061"'])(
  'a call goes to its member with the id %s as it was written',
  async (id) => {
    const a = fakeMember('a', ['get it'])
    a.on['tools/call'] = ({ exchange, text }) => {
      const raw = /"id":(.*?),"method"/.exec(text)?.[1]
      exchange.answer.head(200, { 'content-type': 'application/json' })
      exchange.answer.end(Buffer.from(`{ "jsonrpc":"2.0","id":${raw},"result":{"content":[],"n":1.0} }`))
    }
    const f = createFixture([a])
    const session = await f.open()
    await f.call(session, 'tools/list')
    const text = `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"a_get_it","arguments":{"n":1.0,"name":"a_get_it"}}}`
    const answer = await f.ask({ text, headers: at(session) })
    expect(answer.text).toBe(`{ "jsonrpc":"2.0","id":${id},"result":{"content":[],"n":1.0} }`)
    expect(a.calls.at(-1)?.text).toBe(
      `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"get it","arguments":{"n":1.0,"name":"a_get_it"}}}`,
    )
  },
)

test('a name that nobody has, a server that is no member any more, and an unknown method are refused in band', async () => {
  const a = fakeMember('a', ['x'])
  const f = createFixture([a])
  const session = await f.open()
  await f.call(session, 'tools/list')
  expect((await f.call(session, 'tools/call', { name: 'a_z' })).json.error).toMatchObject({
    code: -32602,
    message: expect.stringContaining('no tool "a_z"'),
  })
  expect(await f.call(session, 'resources/read', { uri: 'file:///etc/passwd' })).toMatchObject({
    status: 200,
    json: { error: { code: -32002 } },
  })
  expect(await f.modern('resources/read', { uri: 'sallyport://b/x' })).toMatchObject({
    status: 200,
    json: { error: { code: -32602, data: { uri: 'sallyport://b/x' } } },
  })
  expect(await f.call(session, 'tools/call2')).toMatchObject({ status: 200, json: { error: { code: -32601 } } })
  expect(await f.modern('tools/call2')).toMatchObject({ status: 404, json: { error: { code: -32601 } } })
  expect(await f.call(session, 'subscriptions/listen')).toMatchObject({ status: 200, json: { error: { code: -32601 } } })
  f.members = []
  expect((await f.call(session, 'tools/call', { name: 'a_x' })).json.error.code).toBe(-32602)
  expect(a.methods().filter((method) => method === 'tools/call' || method === 'resources/read')).toEqual([])
})

test('tools that a set leaves out are neither shown nor called', async () => {
  const a = fakeMember('a', ['x', 'y'])
  const f = createFixture([a])
  f.views = { includesTool: (server, tool) => server === 'a' && tool === 'y' }
  const session = await f.open()
  expect(names(await f.call(session, 'tools/list'))).toEqual(['a_y'])
  expect((await f.call(session, 'tools/call', { name: 'a_x' })).json.error.code).toBe(-32602)
  expect(a.methods()).not.toContain('tools/call')
})

test('a modern call goes to its member with everything but the name to the letter', async () => {
  const a = fakeMember('a', ['x y'])
  a.on['tools/call'] = (call) => call.result({ resultType: 'input_required', inputRequests: {}, requestState: 'abc' })
  const f = createFixture([a])
  await f.modern('tools/list')
  const meta = `{"io.modelcontextprotocol/protocolVersion":"${MODERN}","io.modelcontextprotocol/clientCapabilities":{}}`
  const tail = `"requestState":"a\\u0062c/+==","inputResponses":{"k":{"n":1.0}},"_meta":${meta}}}`
  const text = `{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"a_x_y",${tail}`
  const headers = {
    'mcp-protocol-version': MODERN,
    'mcp-method': 'tools/call',
    'mcp-name': 'a_x_y',
    'mcp-param-city': 'Bern',
    'x-request-id': 'r',
  }
  const answer = await f.ask({ text, headers })
  expect(answer.json.result.requestState).toBe('abc')
  const call = a.calls.at(-1)
  expect(call?.text).toBe(`{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"x y",${tail}`)
  expect(call?.headers).toMatchObject({
    'mcp-name': 'x y',
    'mcp-method': 'tools/call',
    'mcp-protocol-version': MODERN,
    'mcp-param-city': 'Bern',
    'x-request-id': 'r',
  })
})

test('a name that a header cannot hold is encoded for the member', async () => {
  const a = fakeMember('a', ['größe'])
  const f = createFixture([a])
  await f.modern('tools/list')
  await f.modern('tools/call', { name: 'a_gr__e' })
  expect(a.calls.at(-1)?.headers['mcp-name']).toBe('=?base64?Z3LDtsOfZQ==?=')
})

test('a modern client that goes away cancels; a legacy one does not', async () => {
  const a = fakeMember('a', ['x'])
  a.on['tools/call'] = () => undefined
  const f = createFixture([a])
  const session = await f.open()
  await f.call(session, 'tools/list')
  const modern = f.send(f.modernRequest('tools/call', { name: 'a_x' }))
  const legacy = f.send({ text: '{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"a_x"}}', headers: at(session) })
  await settle()
  modern.leave()
  legacy.leave()
  await settle()
  const [first, second] = a.calls.slice(-2)
  expect([first?.signal.aborted, second?.signal.aborted]).toEqual([true, false])
  await f.ask({ text: '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":9}}', headers: at(session) })
  expect(a.calls.at(-1)?.message).toEqual({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 9 } })
})

test('a call to a member that stays silent ends after 15 minutes, for both sides', async () => {
  const a = fakeMember('a', ['x'])
  a.on['tools/call'] = () => undefined
  const f = createFixture([a])
  await f.modern('tools/list')
  const call = f.send(f.modernRequest('tools/call', { name: 'a_x' }))
  await f.timers.advance(15 * 60_000)
  expect(call.json.error).toMatchObject({ message: 'the MCP server has been silent for too long' })
  expect(a.calls.at(-1)?.signal.aborted).toBe(true)
})

test('the same request id twice in a session is refused', async () => {
  const a = fakeMember('a', ['x'])
  a.on['tools/call'] = () => undefined
  const f = createFixture([a])
  const session = await f.open()
  await f.call(session, 'tools/list')
  f.send({ text: '{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"a_x"}}', headers: at(session) })
  await settle()
  expect((await f.call(session, 'tools/call', { name: 'a_x' }, 9)).json.error.code).toBe(-32600)
})

test('a member that forgot the session is met anew, once, with its subscriptions and level', async () => {
  const a = fakeMember('a', ['x'])
  const f = createFixture([a])
  const session = await f.open()
  await f.call(session, 'tools/list')
  await f.call(session, 'resources/subscribe', { uri: 'sallyport://a/note://1' })
  await f.call(session, 'logging/setLevel', { level: 'warning' })
  a.calls.length = 0
  a.forgotten.add('a-1')
  expect((await f.call(session, 'tools/call', { name: 'a_x' })).json.result).toEqual({})
  // Requests may yet run in the session that one of them was told is unknown: it is not ended.
  expect(a.methods()).toEqual([
    'tools/call',
    'initialize',
    'notifications/initialized',
    'resources/subscribe',
    'logging/setLevel',
    'tools/call',
  ])
  expect(a.calls.find(({ message }) => message.method === 'resources/subscribe')?.message.params).toEqual({ uri: 'note://1' })
})

test.each([401, 403, 404, 405])('HTTP %i of a member is an error of the call, never of the client’s session', async (status) => {
  const a = fakeMember('a', ['x'])
  a.on['tools/call'] = ({ exchange }) => {
    exchange.answer.head(status, { 'content-type': 'application/json' })
    exchange.answer.end(Buffer.from('{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"no entry"}}'))
  }
  const f = createFixture([a])
  const session = await f.open()
  await f.call(session, 'tools/list')
  const answer = await f.call(session, 'tools/call', { name: 'a_x' }, 5)
  expect([answer.status, answer.json]).toEqual([200, { jsonrpc: '2.0', id: 5, error: { code: -32603, message: 'no entry' } }])
})

test('a batch of 2025-03-26 is split over the members and answered on one stream', async () => {
  const [a, b] = [fakeMember('a', ['x']), fakeMember('b', ['y'])]
  const f = createFixture([a, b])
  const session = await f.open({ revision: '2025-03-26' })
  await f.call(session, 'tools/list')
  const batch = [
    { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'a_x' } },
    { jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'b_y' } },
    { jsonrpc: '2.0', id: 3, method: 'tools/call', params: { name: 'nobody' } },
    { jsonrpc: '2.0', method: 'notifications/roots/list_changed' },
  ]
  const answer = await f.ask({ text: JSON.stringify(batch), headers: at(session) })
  const byId = new Map(answer.events.map((event) => [event.id, event.result ?? event.error.code]))
  expect([byId.get(1), byId.get(2), byId.get(3)]).toEqual([{}, {}, -32602])
  expect(b.methods()).toContain('notifications/roots/list_changed')
  const other = await f.open()
  expect((await f.ask({ text: JSON.stringify(batch), headers: at(other) })).status).toBe(400)
})

test('an owner may have so many sessions; the longest idle makes room', async () => {
  const f = createFixture([], { sessionsPerOwner: 2 })
  const first = await f.open()
  f.clock.now += 1000
  const second = await f.open()
  f.clock.now += 1000
  const third = await f.open()
  expect((await f.call(first, 'ping')).status).toBe(404)
  expect((await f.call(second, 'ping')).status).toBe(200)
  expect((await f.call(third, 'ping')).status).toBe(200)
  const bobs = await f.open({ owner: 'user:bob' })
  expect(bobs).not.toBe('')
})

test('a session that is not used ends, also at the members', async () => {
  const a = fakeMember('a', ['x'])
  const f = createFixture([a])
  const session = await f.open()
  await f.call(session, 'tools/list')
  f.clock.now += 5 * 60_000 + 1
  f.endpoint.sweep()
  await settle()
  expect(a.calls.at(-1)).toMatchObject({ method: 'DELETE', headers: { 'mcp-session-id': 'a-1' } })
  expect((await f.call(session, 'ping')).status).toBe(404)
})

test('too many requests of one owner at a time are refused', async () => {
  const a = fakeMember('a', ['x'])
  a.on['tools/call'] = () => undefined
  const f = createFixture([a], { requestsPerOwner: 1 })
  await f.modern('tools/list')
  f.send(f.modernRequest('tools/call', { name: 'a_x' }))
  await settle()
  expect((await f.modern('server/discover')).status).toBe(429)
})

test('after close nothing is served', async () => {
  const f = createFixture([])
  const session = await f.open()
  const stream = f.send(streaming(session))
  await settle()
  await f.endpoint.close()
  expect(await stream.ended).toBe('ended')
  expect((await f.call(session, 'ping')).status).toBe(503)
})

test.each(['legacy', 'modern'])('an answer deeper than any stack passes as it is (%s)', async (era) => {
  const a = fakeMember('a', ['x'])
  const deep = `${'['.repeat(50_000)}${']'.repeat(50_000)}`
  const text = `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"resource_link","uri":"note://1"}],"deep":${deep}}}`
  a.on['tools/call'] = ({ exchange }) => {
    exchange.answer.head(200, { 'content-type': 'application/json' })
    exchange.answer.end(Buffer.from(text))
  }
  const f = createFixture([a])
  await f.modern('tools/list')
  const answer =
    era === 'modern' ? await f.modern('tools/call', { name: 'a_x' }) : await f.call(await f.open(), 'tools/call', { name: 'a_x' })
  expect(answer.status).toBe(200)
  expect(answer.text.slice(0, 60)).toBe(text.slice(0, 60))
})

test('a cancelled call is not sent, even when its member is only being met', async () => {
  const a = fakeMember('a', ['x'])
  const held: (() => void)[] = []
  const f = createFixture([a])
  await f.modern('tools/list')
  a.on['initialize'] = (call) => held.push(() => call.result({ protocolVersion: '2025-11-25', capabilities: {} }))
  const session = await f.open()
  const call = f.send({ text: '{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"a_x"}}', headers: at(session) })
  await settle()
  await f.ask({ text: '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":9}}', headers: at(session) })
  held[0]?.()
  await settle()
  expect([call.status, call.json.error.message]).toEqual([200, 'the request was cancelled'])
  expect(a.methods()).toEqual(['server/discover', 'tools/list', 'initialize', 'notifications/initialized'])
})

test('a member that is taken away loses its session at once', async () => {
  const [a, b] = [fakeMember('a', ['x']), fakeMember('b', ['y'])]
  const f = createFixture([a, b])
  const session = await f.open()
  await f.call(session, 'tools/list')
  f.members = [b]
  f.endpoint.membersChanged('user:ana')
  await settle()
  expect([a.methods().at(-1), b.methods().at(-1)]).toEqual(['DELETE', 'tools/list'])
})

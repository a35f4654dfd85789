import { expect, test } from 'vitest'
import { type Call, createFixture, type FakeMember, fakeMember, NOW, toolNamed } from './aggregate.fixture.ts'

interface Listed {
  json: { result: { tools: { name: string }[]; nextCursor?: string } }
}
const names = (answer: Listed) => answer.json.result.tools.map(({ name }) => name)
const asked = (member: FakeMember) => member.methods().filter((method) => method === 'tools/list').length
const at = (session: string) => ({ 'mcp-session-id': session })
const streaming = (session: string) => ({ method: 'GET', headers: { ...at(session), accept: 'text/event-stream' } })
const pages = (page: (at: number) => unknown) => (call: Call) => call.result(page(Number(call.message.params.cursor ?? 0)))

test('a member that never answers delays no list beyond 3 s, and is shown by what it said last', async () => {
  const [a, b] = [fakeMember('a', ['x']), fakeMember('b', ['y'])]
  const f = createFixture([a, b])
  expect(names(await f.modern('tools/list'))).toEqual(['a_x', 'b_y'])
  b.on['tools/list'] = () => undefined
  const slow = f.send(f.modernRequest('tools/list'))
  await f.timers.advance(2999)
  expect(slow.isOver).toBe(false)
  await f.timers.advance(1)
  expect(names(slow)).toEqual(['a_x', 'b_y'])
  expect(slow.json.result).toMatchObject({
    ttlMs: 0,
    cacheScope: 'private',
    _meta: { 'sallyport.dev/unavailable': [{ server: 'b', reason: 'the MCP server did not answer within 3 s' }] },
  })
  await f.timers.advance(11 * 60_000)
  const later = f.send(f.modernRequest('tools/list'))
  await f.timers.advance(3000)
  expect(names(later)).toEqual(['a_x'])
  expect(f.endpoint.health()).toMatchObject([{ server: 'b', problem: expect.stringContaining('did not answer within 30 s') }])
})

test('a member whose session was still being opened when the client went is not to blame', async () => {
  const a = fakeMember('a', ['x'])
  a.on['initialize'] = () => undefined
  const f = createFixture([a])
  const session = await f.open()
  const listing = f.send({ text: '{"jsonrpc":"2.0","id":1,"method":"tools/list"}', headers: at(session) })
  await f.timers.advance(3000)
  expect(names(listing)).toEqual([])
  f.send({ method: 'DELETE', headers: at(session) })
  await f.timers.advance(60_000)
  expect(f.endpoint.health()).toEqual([])
})

test('a list that comes late is told of, once', async () => {
  const a = fakeMember('a', ['x'])
  let held: (() => void) | undefined
  a.on['tools/list'] = (call) => (held = () => call.result({ tools: a.lists.tools }))
  const f = createFixture([a])
  const session = await f.open()
  const stream = f.send(streaming(session))
  const listing = f.send({ text: '{"jsonrpc":"2.0","id":1,"method":"tools/list"}', headers: at(session) })
  await f.timers.advance(3000)
  expect(names(listing)).toEqual([])
  held?.()
  await f.timers.advance(250)
  expect(stream.events).toEqual([{ jsonrpc: '2.0', method: 'notifications/tools/list_changed' }])
})

test.each([
  [
    'garbage',
    (call: Call) => {
      call.exchange.answer.head(200, { 'content-type': 'application/json' })
      call.exchange.answer.end(Buffer.from('<html>'))
    },
  ],
  ['no list', (call: Call) => call.result({ tools: 'none' })],
  ['an abort', (call: Call) => call.exchange.answer.abort('gone')],
  ['nothing', (call: Call) => call.exchange.answer.end()],
  [
    'a thrown error',
    () => {
      throw new Error('boom')
    },
  ],
])('a member that answers with %s takes nothing away from the others', async (_, script) => {
  const [a, b] = [fakeMember('a', ['x']), fakeMember('b', ['y'])]
  b.on['tools/list'] = script
  const f = createFixture([a, b])
  const answer = await f.modern('tools/list')
  expect(names(answer)).toEqual(['a_x'])
  expect(answer.json.result._meta['sallyport.dev/unavailable']).toMatchObject([{ server: 'b' }])
  expect(f.endpoint.health()).toMatchObject([{ server: 'b' }])
})

test('a member without a kind of list has an empty one, and is not ill', async () => {
  const a = fakeMember('a')
  a.on['prompts/list'] = ({ exchange, message }) => {
    exchange.answer.head(404, { 'content-type': 'application/json' })
    exchange.answer.end(Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: message.id, error: { code: -32601, message: 'no' } })))
  }
  const f = createFixture([a])
  expect((await f.modern('prompts/list')).json.result.prompts).toEqual([])
  expect(f.endpoint.health()).toEqual([])
})

test('quarantine takes one tool, and says so', async () => {
  const a = fakeMember('a', ['x', toolNamed('bad', { inputSchema: null })])
  const f = createFixture([a])
  const session = await f.open()
  const answer = await f.call(session, 'tools/list')
  expect(names(answer)).toEqual(['a_x'])
  expect(answer.json.result._meta['sallyport.dev/unavailable']).toEqual([
    { server: 'a', reason: '"bad" is left out: its inputSchema is no object' },
  ])
  expect(f.endpoint.health()).toMatchObject([
    {
      server: 'a',
      topic: 'tools/list items',
      problem: '"bad" of tools/list is left out: its inputSchema is no object',
      since: NOW,
      count: 1,
    },
  ])
})

test.each([
  [
    'gives cursors for ever',
    (page: number) => ({ tools: [toolNamed(`t${page}`)], nextCursor: String(page + 1) }),
    50,
    'more than 50 pages',
  ],
  ['gives a cursor twice', () => ({ tools: [toolNamed('t')], nextCursor: '0' }), 1, 'a cursor twice'],
  [
    'lists thousands in a page',
    () => ({ tools: Array.from({ length: 6000 }, (_, each) => toolNamed(`t${each}`)) }),
    1000,
    'more than 5000 items',
  ],
])('a member that %s is cut there, with a record', async (_, page, shown, problem) => {
  const a = fakeMember('a')
  a.on['tools/list'] = pages(page)
  const f = createFixture([a])
  expect(names(await f.modern('tools/list'))).toHaveLength(shown)
  expect(asked(a)).toBeLessThanOrEqual(50)
  expect(f.endpoint.health()[0]).toMatchObject({ server: 'a', problem: expect.stringContaining(problem) })
})

test('a member whose list is too large is cut there', async () => {
  const [a, b] = [fakeMember('a'), fakeMember('b', ['y'])]
  a.on['tools/list'] = pages((page) => ({ tools: [toolNamed(`t${page}`, { description: 'x'.repeat(900) })], nextCursor: String(page + 1) }))
  const f = createFixture([a, b], { listBytes: 2000 })
  const listed = names(await f.modern('tools/list'))
  expect(listed).toEqual(['a_t0', 'b_y'])
  expect(f.endpoint.health()).toMatchObject([{ server: 'a', problem: 'tools/list has more than 2000 bytes: what is beyond is not shown' }])
})

test('an empty cursor of a member is a cursor, and numbers stay as they are', async () => {
  const a = fakeMember('a')
  a.on['tools/list'] = (call) => {
    const page =
      call.message.params.cursor === undefined
        ? '"tools":[{"name":"x","inputSchema":{"type":"object"},"n":1.0}],"nextCursor":""'
        : '"tools":[{"name":"y","inputSchema":{"type":"object"}}]'
    call.exchange.answer.head(200, { 'content-type': 'application/json' })
    call.exchange.answer.end(Buffer.from(`{"jsonrpc":"2.0","id":${JSON.stringify(call.message.id)},"result":{${page}}}`))
  }
  const f = createFixture([a])
  const answer = await f.modern('tools/list')
  expect(names(answer)).toEqual(['a_x', 'a_y'])
  expect(answer.text).toContain('"n":1.0')
})

test('pages of ours: 1000 items, and cursors for this caller, this list and this hour alone', async () => {
  const [a, b] = [fakeMember('a'), fakeMember('b')]
  for (const member of [a, b]) member.lists.tools = Array.from({ length: 900 }, (_, each) => toolNamed(`t${each}`))
  const f = createFixture([b, a])
  const first = await f.modern('tools/list')
  const cursor: unknown = first.json.result.nextCursor
  const second = await f.modern('tools/list', { cursor })
  expect([names(first).length, names(second).length, second.json.result.nextCursor]).toEqual([1000, 800, undefined])
  expect(new Set([...names(first), ...names(second)]).size).toBe(1800)
  expect(asked(a)).toBe(1)
  const refusals = [
    await f.ask(f.modernRequest('tools/list', { cursor }), f.view('user:bob')),
    await f.modern('prompts/list', { cursor }),
    await f.modern('tools/list', { cursor: '' }),
    await f.modern('tools/list', { cursor: 7 }),
    await f.modern('tools/list', { cursor: `${String(cursor).slice(0, -1)}${String(cursor).endsWith('A') ? 'B' : 'A'}` }),
  ]
  f.clock.now += 60 * 60_000 - 1
  expect((await f.modern('tools/list', { cursor })).status).toBe(200)
  f.clock.now = NOW + 60 * 60_000
  f.views = { expiresAt: NOW + 7_200_000 }
  refusals.push(await f.modern('tools/list', { cursor }))
  expect(refusals.map(({ status, json }) => [status, json.error.code])).toEqual(Array.from({ length: 6 }, () => [200, -32602]))
})

test('several lists at once are one to each member, and one owner’s is never another’s', async () => {
  const a = fakeMember('a', ['x'])
  const held: Call[] = []
  a.on['tools/list'] = (call) => held.push(call)
  const f = createFixture([a])
  const both = [f.send(f.modernRequest('tools/list')), f.send(f.modernRequest('tools/list'))]
  const bobs = f.send(f.modernRequest('tools/list'), f.view('user:bob'))
  await f.timers.advance(0)
  expect(held).toHaveLength(2)
  held[0]?.result({ tools: [toolNamed('anas')] })
  held[1]?.result({ tools: [toolNamed('bobs')] })
  await f.timers.advance(0)
  expect([...both, bobs].map(names)).toEqual([['a_anas'], ['a_anas'], ['a_bobs']])
  await f.timers.advance(10_000)
  const later = f.send(f.modernRequest('tools/list'), f.view('user:bob'))
  await f.timers.advance(3000)
  expect(names(later)).toEqual(['a_bobs'])
})

test('after a change of members nothing kept is shown', async () => {
  const a = fakeMember('a', ['x'])
  const f = createFixture([a])
  await f.modern('tools/list')
  f.endpoint.membersChanged('user:ana')
  a.on['tools/list'] = () => undefined
  const answer = f.send(f.modernRequest('tools/list'))
  await f.timers.advance(3000)
  expect(names(answer)).toEqual([])
})

test('items of the other lists are named here too', async () => {
  const a = fakeMember('a', [
    toolNamed('x', { title: 'X', _meta: { ui: { resourceUri: 'ui://page/1' }, 'ui/resourceUri': 'ui://page/1' } }),
  ])
  a.lists.prompts = [{ name: 'greet', title: 'Greet' }, { name: 'greet' }, { title: 'nameless' }]
  a.lists.resources = [{ uri: 'file:///a b', name: 'A' }, { uri: 'ui://page/1' }]
  a.lists.resourceTemplates = [{ uriTemplate: 'file:///{path}{?q}', name: 'T' }]
  const f = createFixture([a])
  const result = async (method: string) => (await f.modern(method)).json.result
  expect((await result('tools/list')).tools[0]).toMatchObject({
    name: 'a_x',
    title: 'X',
    description: 'does x',
    _meta: { ui: { resourceUri: 'ui://a/page/1' }, 'ui/resourceUri': 'ui://a/page/1' },
  })
  expect(await result('prompts/list')).toMatchObject({
    prompts: [{ name: 'a_greet', title: 'Greet' }],
    resultType: 'complete',
    cacheScope: 'private',
    ttlMs: 5000,
  })
  expect((await result('resources/list')).resources).toEqual([
    { uri: 'sallyport://a/file:///a b', name: 'A' },
    { uri: 'ui://a/page/1', name: 'ui://page/1' },
  ])
  a.on['skills/list'] = (call) => call.result({ skills: [{ uri: 'skill://s', resources: [{ uri: 'skill://s/x' }] }] })
  expect((await result('skills/list')).skills).toEqual([
    { uri: 'sallyport://a/skill://s', resources: [{ uri: 'sallyport://a/skill://s/x' }] },
  ])
  expect((await result('resources/templates/list')).resourceTemplates).toEqual([
    { uriTemplate: 'sallyport://a/file:///{path}{?q}', name: 'T' },
  ])
})

test('a client with a limit of tools is given a search in place of more', async () => {
  const a = fakeMember('a')
  a.lists.tools = Array.from({ length: 41 }, (_, each) => toolNamed(`t${each}`))
  a.on['tools/call'] = (call) => call.result({ called: call.message.params })
  const f = createFixture([a])
  const cursor = await f.open({ client: 'cursor-vscode' })
  expect(names(await f.call(cursor, 'tools/list'))).toEqual(['search_tools', 'call_tool'])
  expect(names(await f.call(await f.open({ client: 'other' }), 'tools/list'))).toHaveLength(41)
  const found = await f.call(cursor, 'tools/call', { name: 'search_tools', arguments: { query: 't7' } })
  expect(found.json.result.structuredContent.tools).toMatchObject([
    { name: 'a_t7', description: 'does t7', inputSchema: { type: 'object' } },
  ])
  const args = { name: 'a_t7', arguments: { city: 'Bern' } }
  expect((await f.call(cursor, 'tools/call', { name: 'call_tool', arguments: args })).json.result.called).toEqual({
    name: 't7',
    arguments: { city: 'Bern' },
  })
  expect((await f.call(cursor, 'tools/call', { name: 'a_t7' })).json.result.called).toEqual({ name: 't7' })
  expect((await f.call(cursor, 'tools/call', { name: 'call_tool', arguments: { name: 'a_none' } })).json.error.code).toBe(-32602)
  expect((await f.call(cursor, 'tools/call', { name: 'call_tool' })).json.error.code).toBe(-32602)
  f.views = { discovery: 'full' }
  expect(names(await f.call(cursor, 'tools/list'))).toHaveLength(41)
  expect((await f.call(cursor, 'tools/call', { name: 'search_tools' })).json.error.code).toBe(-32602)
})

test('a modern client may search too, and its inner call repeats arguments in headers as the tool asks', async () => {
  const properties = { city: { type: 'string', 'x-mcp-header': 'City' }, days: { type: 'integer', 'x-mcp-header': 'Days' } }
  const a = fakeMember('a', [toolNamed('weather', { inputSchema: { type: 'object', properties } })])
  const f = createFixture([a])
  f.views = { discovery: 'search' }
  expect(names(await f.modern('tools/list'))).toEqual(['search_tools', 'call_tool'])
  const found = await f.modern('tools/call', { name: 'search_tools', arguments: { query: '' } })
  expect(found.json.result).toMatchObject({ resultType: 'complete', structuredContent: { tools: [{ name: 'a_weather' }] } })
  await f.modern('tools/call', { name: 'call_tool', arguments: { name: 'a_weather', arguments: { city: 'Zürich' } } }, 3, {
    'mcp-param-x': 'stray',
  })
  const call = a.calls.at(-1)
  expect(call?.message.params).toMatchObject({ name: 'weather', arguments: { city: 'Zürich' } })
  expect(call?.headers).toMatchObject({ 'mcp-name': 'weather', 'mcp-param-city': '=?base64?WsO8cmljaA==?=' })
  expect(Object.keys(call?.headers ?? {})).not.toContain('mcp-param-x')
  expect(Object.keys(call?.headers ?? {})).not.toContain('mcp-param-days')
})

test('a tool in quarantine is refused by name, with the reason', async () => {
  const a = fakeMember('a', ['x'])
  const f = createFixture([a])
  const session = await f.open()
  await f.call(session, 'tools/list')
  a.lists.tools = [toolNamed('x', { inputSchema: null })]
  await f.call(session, 'tools/list')
  const answer = await f.call(session, 'tools/call', { name: 'a_x' })
  expect(answer.json.error).toMatchObject({ code: -32602, message: expect.stringContaining('quarantine: its inputSchema is no object') })
})

test('of two tools of one name the first is shown, and may be called', async () => {
  const a = fakeMember('a', [toolNamed('x', { description: 'first' }), toolNamed('x', { description: 'second' })])
  const f = createFixture([a])
  const answer = await f.modern('tools/list')
  expect(answer.json.result.tools).toMatchObject([{ name: 'a_x', description: 'first' }])
  expect((await f.modern('tools/call', { name: 'a_x' })).json.result).toEqual({})
})

test('a search asks again after a minute, and at once when a list has changed', async () => {
  const a = fakeMember('a', ['x'])
  const f = createFixture([a])
  const session = await f.open()
  f.views = { discovery: 'search' }
  const asked = async (): Promise<number> => {
    await f.call(session, 'tools/call', { name: 'search_tools', arguments: { query: '' } })
    return a.methods().filter((method) => method === 'tools/list').length
  }
  f.send(streaming(session))
  expect([await asked(), await asked()]).toEqual([1, 1])
  a.emit({ jsonrpc: '2.0', method: 'notifications/prompts/list_changed' })
  await f.timers.advance(0)
  expect(await asked()).toBe(1)
  a.emit({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' })
  await f.timers.advance(0)
  expect(await asked()).toBe(2)
  await f.timers.advance(60_000)
  expect(await asked()).toBe(3)
})

import { expect, test } from 'vitest'
import { type Call, createFixture, fakeMember } from './aggregate.fixture.ts'

const given = (call: Call | undefined) => {
  const { _meta, ...params } = call?.message.params ?? {}
  return params
}

test.each([
  ['resources/read', { uri: 'sallyport://nobody/note://1' }],
  ['resources/read', { uri: 7 }],
  ['resources/read', {}],
  ['prompts/get', { name: 'a_none' }],
  ['prompts/get', { name: { toString: 'a_greet' } }],
  ['completion/complete', { ref: { type: 'ref/prompt', name: 'a_none' } }],
  ['completion/complete', { ref: { type: 'ref/resource', uri: 'note://1' } }],
  ['completion/complete', { ref: 'x' }],
  ['tasks/get', { taskId: 't1' }],
  ['tasks/get', { taskId: 'nobody/t1' }],
  ['tasks/cancel', {}],
])('%s of %j is for nobody', async (method, params) => {
  const a = fakeMember('a')
  const f = createFixture([a])
  const answer = await f.modern(method, params)
  expect([answer.status, answer.json.error.code]).toEqual([200, -32602])
  expect(a.calls).toEqual([])
})

test.each([
  ['prompts/get', { name: 'a_greet', arguments: { who: 'b' } }, { name: 'greet', arguments: { who: 'b' } }, 'greet'],
  ['resources/read', { uri: 'sallyport://a/note://1' }, { uri: 'note://1' }, 'note://1'],
  ['resources/read', { uri: 'ui://a/page' }, { uri: 'ui://page' }, 'ui://page'],
  ['tasks/get', { taskId: 'a/t/1' }, { taskId: 't/1' }, 't/1'],
  ['tasks/update', { taskId: 'a/t', inputResponses: {} }, { taskId: 't', inputResponses: {} }, 't'],
  ['tasks/cancel', { taskId: 'a/t' }, { taskId: 't' }, 't'],
  [
    'completion/complete',
    { ref: { type: 'ref/prompt', name: 'a_greet' }, argument: { name: 'who', value: 'b' } },
    { ref: { type: 'ref/prompt', name: 'greet' }, argument: { name: 'who', value: 'b' } },
    undefined,
  ],
  [
    'completion/complete',
    { ref: { type: 'ref/resource', uri: 'sallyport://a/note://{n}' }, argument: {} },
    { ref: { type: 'ref/resource', uri: 'note://{n}' }, argument: {} },
    undefined,
  ],
])('%s of %j reaches its member under the member’s own names', async (method, params, original, header) => {
  const a = fakeMember('a')
  a.lists.prompts = [{ name: 'greet' }]
  const f = createFixture([a, fakeMember('b')])
  await f.modern('prompts/list')
  expect((await f.modern(method, params)).json.result).toEqual({})
  expect(given(a.calls.at(-1))).toEqual(original)
  expect(a.calls.at(-1)?.headers['mcp-name']).toBe(header)
})

test('methods that one era has not are unknown in it', async () => {
  const f = createFixture([fakeMember('a')])
  const session = await f.open()
  for (const method of ['server/discover', 'subscriptions/listen', 'tasks/update']) {
    expect((await f.call(session, method, { taskId: 'a/t' })).json.error.code).toBe(-32601)
  }
  for (const method of ['tasks/list', 'tasks/result', 'ping', 'logging/setLevel', 'resources/subscribe']) {
    expect(await f.modern(method, { taskId: 'a/t' })).toMatchObject({ status: 404, json: { error: { code: -32601 } } })
  }
})

test('tasks of all servers are one list', async () => {
  const [a, b] = [fakeMember('a'), fakeMember('b')]
  for (const member of [a, b]) member.on['tasks/list'] = (call) => call.result({ tasks: [{ taskId: 't', status: 'working', ttl: null }] })
  const f = createFixture([a, b])
  const answer = await f.call(await f.open(), 'tasks/list')
  expect(answer.json.result.tasks).toEqual([
    { taskId: 'a/t', status: 'working', ttl: null },
    { taskId: 'b/t', status: 'working', ttl: null },
  ])
})

test('a task that the client runs is known to the server that asked for it alone', async () => {
  const [a, b] = [fakeMember('a', ['x']), fakeMember('b', ['y'])]
  const f = createFixture([a, b])
  const session = await f.open()
  await f.call(session, 'tools/list')
  f.send({ method: 'GET', headers: { 'mcp-session-id': session, accept: '*/*' } })
  await f.timers.advance(0)
  b.emit({ jsonrpc: '2.0', id: 1, method: 'sampling/createMessage', params: { task: {} } })
  await f.timers.advance(0)
  const post = (message: unknown) => f.ask({ text: JSON.stringify(message), headers: { 'mcp-session-id': session } })
  await post({ jsonrpc: '2.0', id: 's-1', result: { task: { taskId: 'mine' } } })
  await post({ jsonrpc: '2.0', method: 'notifications/tasks/status', params: { taskId: 'mine' } })
  await post({ jsonrpc: '2.0', method: 'notifications/tasks/status', params: { taskId: 'other' } })
  expect(b.calls.slice(-2).map(({ message }) => message)).toEqual([
    { jsonrpc: '2.0', id: 1, result: { task: { taskId: 'mine' } } },
    { jsonrpc: '2.0', method: 'notifications/tasks/status', params: { taskId: 'mine' } },
  ])
  expect(a.methods()).not.toContain('notifications/tasks/status')
})

test('an answer of more than a megabyte passes piece by piece, and one that breaks off is broken off', async () => {
  const a = fakeMember('a', ['x'])
  const pieces = ['{"jsonrpc":"2.0","id":1,"result":{"x":"', ...Array.from({ length: 4 }, () => '\\"uri\\" '.repeat(80_000)), '"}}']
  a.on['tools/call'] = ({ exchange, message }) => {
    exchange.answer.head(200, { 'content-type': 'application/json' })
    for (const piece of pieces) exchange.answer.write(Buffer.from(piece))
    if (message.params.arguments?.whole) exchange.answer.end()
    else exchange.answer.abort('lost')
  }
  const f = createFixture([a])
  await f.modern('tools/list')
  const whole = await f.modern('tools/call', { name: 'a_x', arguments: { whole: true } })
  expect([whole.status, whole.text === pieces.join(''), await whole.ended]).toEqual([200, true, 'ended'])
  const broken = f.send(f.modernRequest('tools/call', { name: 'a_x' }))
  expect(await broken.ended).toBe('ended')
  expect(broken.json.error.message).toBe('lost')
})

test('server/discover is ours, with what servers said to this owner before', async () => {
  const a = fakeMember('a', ['x'])
  const f = createFixture([a])
  await f.call(await f.open(), 'tools/list')
  expect((await f.modern('server/discover')).json.result).toMatchObject({
    resultType: 'complete',
    supportedVersions: ['2026-07-28'],
    capabilities: { tools: { listChanged: true }, extensions: { 'io.modelcontextprotocol/tasks': {} } },
    instructions: expect.stringContaining('say a'),
    ttlMs: 0,
    cacheScope: 'private',
    _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'gate', version: '9' } },
  })
  const bobs = await f.ask(f.modernRequest('server/discover'), f.view('user:bob'))
  expect(bobs.json.result.instructions).not.toContain('say a')
})

import { expect, test } from 'vitest'
import { type Answered, createFixture, fakeMember, settle } from './aggregate.fixture.ts'

const at = (session: string, more = {}) => ({ 'mcp-session-id': session, ...more })
const get = (session: string, more = {}) => ({ method: 'GET', headers: at(session, { accept: 'text/event-stream', ...more }) })
const post = (session: string, message: unknown) => ({
  text: JSON.stringify({ jsonrpc: '2.0', ...(message as object) }),
  headers: at(session),
})
const last = (answered: Answered) => answered.events.at(-1)

test('a modern client has no stream to open and no session to end', async () => {
  const f = createFixture([])
  for (const method of ['GET', 'DELETE'])
    expect(await f.ask({ method, headers: { 'mcp-protocol-version': '2026-07-28' } })).toMatchObject({ status: 405 })
  expect(await f.ask({ method: 'PUT' })).toMatchObject({ status: 405, headers: { allow: 'GET, POST, DELETE' } })
  const session = await f.open()
  expect((await f.ask({ method: 'GET', headers: at(session, { accept: 'application/json' }) })).status).toBe(406)
})

test('requests of two members with the same id and token reach the client under ids of ours, and its answers come back', async () => {
  const [a, b] = [fakeMember('a', ['x']), fakeMember('b', ['y'])]
  const f = createFixture([a, b])
  const session = await f.open()
  await f.call(session, 'tools/list')
  const stream = f.send(get(session))
  await settle()
  for (const member of [a, b]) {
    member.calls.length = 0
    member.emit({ jsonrpc: '2.0', id: 7, method: 'roots/list', params: { _meta: { progressToken: 7, n: 1 } } })
  }
  await settle()
  expect(stream.events.map(({ id, params }) => [id, params._meta])).toEqual([
    ['s-1', { progressToken: 's-1', n: 1, 'sallyport.dev/server': 'a' }],
    ['s-2', { progressToken: 's-2', n: 1, 'sallyport.dev/server': 'b' }],
  ])
  await f.ask(post(session, { method: 'notifications/progress', params: { progressToken: 's-2', progress: 1 } }))
  expect((await f.ask(post(session, { id: 's-2', result: { roots: [] } }))).status).toBe(202)
  expect(a.calls).toEqual([])
  expect(b.calls.map(({ message }) => message)).toEqual([
    { jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 7, progress: 1 } },
    { jsonrpc: '2.0', id: 7, result: { roots: [] } },
  ])
  for (const id of ['s-2', 's-9', 7]) expect((await f.ask(post(session, { id, result: {} }))).status).toBe(400)
  a.emit({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 7, reason: 'late' } })
  b.emit({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 7 } })
  await settle()
  expect(stream.events.slice(2)).toEqual([
    { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 's-1', reason: 'late' } },
  ])
})

test('what a member asks during a call comes on the stream of the call', async () => {
  const a = fakeMember('a', ['x'])
  a.on['tools/call'] = (call) =>
    call.events(
      { jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 'p', progress: 1 } },
      { jsonrpc: '2.0', id: 1, method: 'elicitation/create', params: { message: 'Which?' } },
      { jsonrpc: '2.0', id: call.message.id, result: { content: [{ type: 'resource_link', uri: 'note://1', name: 'n' }] } },
    )
  const f = createFixture([a])
  const session = await f.open()
  await f.call(session, 'tools/list')
  const answer = await f.call(session, 'tools/call', { name: 'a_x', _meta: { progressToken: 'p' } }, 4)
  expect(answer.headers['content-type']).toBe('text/event-stream')
  expect(answer.events).toEqual([
    { jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 'p', progress: 1 } },
    { jsonrpc: '2.0', id: 's-1', method: 'elicitation/create', params: { message: 'Which?', _meta: { 'sallyport.dev/server': 'a' } } },
    { jsonrpc: '2.0', id: 4, result: { content: [{ type: 'resource_link', uri: 'sallyport://a/note://1', name: 'n' }] } },
  ])
})

test('responses on the stream are passed on only for requests of that member, once', async () => {
  const [a, b] = [fakeMember('a', ['x']), fakeMember('b', ['y'])]
  a.on['tools/call'] = ({ exchange }) => {
    exchange.answer.head(200, { 'content-type': 'text/event-stream' })
    exchange.answer.write(Buffer.from('id: e1\ndata: \n\n'))
    exchange.answer.end()
  }
  const f = createFixture([a, b])
  const session = await f.open()
  await f.call(session, 'tools/list')
  const call = await f.call(session, 'tools/call', { name: 'a_x' }, 4)
  expect(call.text).toBe('id: a/e1\ndata: \n\n')
  const stream = f.send(get(session, { 'last-event-id': 'a/e1' }))
  await settle()
  const opened = [...a.calls, ...b.calls].filter(({ method }) => method === 'GET').map(({ headers }) => headers['last-event-id'])
  expect(opened).toEqual(['e1', undefined])
  b.emit({ jsonrpc: '2.0', id: 4, result: { stolen: true } })
  a.emit({ jsonrpc: '2.0', id: 5, result: { nobody: true } })
  a.emit({ jsonrpc: '2.0', id: 4, result: { mine: true } }, 'e2')
  a.emit({ jsonrpc: '2.0', id: 4, result: { again: true } })
  await settle()
  expect(stream.events).toEqual([{ jsonrpc: '2.0', id: 4, result: { mine: true } }])
  expect(stream.text).toContain('id: a/e2\n')
})

test('an answer that was lost with a connection comes again to who resumes its stream, once and from its member only', async () => {
  const [a, b] = [fakeMember('a', ['x']), fakeMember('b', ['y'])]
  a.on['tools/call'] = ({ exchange, message }) => {
    exchange.answer.head(200, { 'content-type': 'text/event-stream' })
    exchange.answer.write(Buffer.from('id: e1\ndata: \n\n'))
    exchange.answer.end(Buffer.from(`id: e2\ndata: {"jsonrpc":"2.0","id":${message.id},"result":{"lost":true}}\n\n`))
  }
  const f = createFixture([a, b])
  const session = await f.open()
  await f.call(session, 'tools/list')
  await f.call(session, 'tools/call', { name: 'a_x' }, 4)
  const lost = { jsonrpc: '2.0', id: 4, result: { lost: true } }
  // Without a word of where it lost the stream, nobody knows that it did.
  const plain = f.send(get(session))
  await settle()
  a.emit(lost, 'e2')
  await settle()
  expect(plain.events).toEqual([])
  const stream = f.send(get(session, { 'last-event-id': 'a/e1' }))
  await settle()
  b.emit({ ...lost, result: { stolen: true } })
  a.emit(lost, 'e2')
  a.emit(lost, 'e2')
  await settle()
  expect(stream.events).toEqual([lost])
  const again = f.send(get(session, { 'last-event-id': 'a/e1' }))
  await settle()
  a.emit(lost, 'e2')
  await settle()
  expect(again.events).toEqual([lost])
})

test('changes of lists are told once within 250 ms, whoever says so', async () => {
  const [a, b] = [fakeMember('a', ['x']), fakeMember('b', ['y'])]
  const f = createFixture([a, b])
  const session = await f.open()
  await f.call(session, 'tools/list')
  const stream = f.send(get(session))
  await settle()
  for (const member of [a, b, a]) member.emit({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' })
  await f.timers.advance(249)
  expect(stream.events).toEqual([])
  await f.timers.advance(1)
  expect(stream.events).toEqual([{ jsonrpc: '2.0', method: 'notifications/tools/list_changed' }])
  f.endpoint.membersChanged('user:bob')
  await f.timers.advance(250)
  expect(stream.events).toHaveLength(1)
  f.endpoint.membersChanged()
  await f.timers.advance(250)
  expect(stream.events.slice(1).map(({ method }) => method)).toEqual([
    'notifications/tools/list_changed',
    'notifications/prompts/list_changed',
    'notifications/resources/list_changed',
  ])
})

test('a member that comes later joins the stream, and one whose stream ends is asked again after its last event', async () => {
  const a = fakeMember('a', ['x'])
  const f = createFixture([a])
  const session = await f.open()
  const stream = f.send(get(session))
  await settle()
  expect(a.calls).toEqual([])
  await f.call(session, 'tools/list')
  a.emit({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 1 } }, 'e7')
  await settle()
  expect(last(stream)).toMatchObject({ method: 'notifications/message' })
  a.calls.find(({ method }) => method === 'GET')?.exchange.answer.end()
  await f.timers.advance(1000)
  expect(a.calls.filter(({ method }) => method === 'GET').map(({ headers }) => headers['last-event-id'])).toEqual([undefined, 'e7'])
  stream.leave()
  await settle()
  expect(a.calls.at(-1)?.signal.aborted).toBe(true)
})

test('a stream that a member does not offer is not asked for again', async () => {
  const a = fakeMember('a', ['x'])
  a.on['GET'] = ({ exchange }) => {
    exchange.answer.head(405, {})
    exchange.answer.end()
  }
  const f = createFixture([a])
  const session = await f.open()
  await f.call(session, 'tools/list')
  f.send(get(session))
  await f.timers.advance(120_000)
  expect(a.calls.filter(({ method }) => method === 'GET')).toHaveLength(1)
})

test('a new stream takes over, the one before rests, and both are kept alive', async () => {
  const a = fakeMember('a', ['x'])
  const f = createFixture([a])
  const session = await f.open()
  await f.call(session, 'tools/list')
  const first = f.send(get(session))
  await settle()
  const second = f.send(get(session))
  await settle()
  // Ended, its client would open it again, and the two would take each other's place for ever.
  expect(first.isOver).toBe(false)
  const notice = { jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 1 } }
  a.emit(notice)
  await settle()
  expect(last(second)).toMatchObject(notice)
  expect(first.text).toBe(': keep-alive\n\n')
  await f.timers.advance(15_000)
  f.endpoint.sweep()
  expect(first.text).toBe(': keep-alive\n\n: keep-alive\n\n')
  second.leave()
  await settle()
  a.emit(notice)
  await settle()
  expect(last(first)).toMatchObject(notice)
})

test('a few streams may rest, and all end with their session', async () => {
  const f = createFixture([])
  const session = await f.open()
  const streams = []
  for (let count = 0; count < 5; count++) {
    streams.push(f.send(get(session)))
    await settle()
  }
  expect(streams.map(({ isOver }) => isOver)).toEqual([true, false, false, false, false])
  await f.send({ method: 'DELETE', headers: { 'mcp-session-id': session } }).ended
  await settle()
  expect(streams.map(({ isOver }) => isOver)).toEqual([true, true, true, true, true])
})

test('subscriptions are counted: one to the server, ended by the last', async () => {
  const a = fakeMember('a', ['x'])
  const f = createFixture([a])
  const session = await f.open()
  const stream = f.send(get(session))
  const uri = 'sallyport://a/note://1'
  const subscribe = (method: string, id: number) => f.call(session, `resources/${method}`, { uri }, id)
  for (const id of [1, 2]) expect((await subscribe('subscribe', id)).json.result).toEqual({})
  a.emit({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'note://1/part', n: 1.5 } })
  await settle()
  expect(last(stream)).toEqual({
    jsonrpc: '2.0',
    method: 'notifications/resources/updated',
    params: { uri: 'sallyport://a/note://1/part', n: 1.5 },
  })
  for (const id of [3, 4]) await subscribe('unsubscribe', id)
  expect(a.methods().filter((method) => method.startsWith('resources/'))).toEqual(['resources/subscribe', 'resources/unsubscribe'])
  a.on['resources/subscribe'] = ({ exchange, message }) => {
    exchange.answer.head(200, { 'content-type': 'application/json' })
    exchange.answer.end(Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: message.id, error: { code: -32002, message: 'no such' } })))
  }
  expect((await subscribe('subscribe', 5)).json.error).toEqual({ code: -32002, message: 'no such' })
  expect((await f.call(session, 'resources/subscribe', { uri: 'note://1' })).json.error.code).toBe(-32002)
})

test('the level of the log is told to every member that has one, now and later', async () => {
  const [a, b] = [fakeMember('a', ['x']), fakeMember('b', ['y'])]
  const f = createFixture([a])
  const session = await f.open()
  expect((await f.call(session, 'logging/setLevel', { level: 'loud' })).json.error.code).toBe(-32602)
  await f.call(session, 'tools/list')
  expect((await f.call(session, 'logging/setLevel', { level: 'warning' })).json.result).toEqual({})
  f.members = [a, b]
  await f.call(session, 'tools/list')
  for (const member of [a, b])
    expect(member.calls.filter(({ message }) => message.method === 'logging/setLevel').map(({ message }) => message.params)).toEqual([
      { level: 'warning' },
    ])
})

test('a listen is sent on under its own id, acknowledged once for all, and its messages merged', async () => {
  const [a, b] = [fakeMember('a', ['x']), fakeMember('b', ['y'])]
  const meta = { 'io.modelcontextprotocol/subscriptionId': 'L' }
  for (const member of [a, b]) {
    member.on['subscriptions/listen'] = ({ exchange }) => exchange.answer.head(200, { 'content-type': 'text/event-stream' })
  }
  const say = (member: typeof a, message: unknown) =>
    member.calls.at(-1)?.exchange.answer.write(Buffer.from(`data: ${JSON.stringify(message)}\n\n`))
  const f = createFixture([a, b])
  const uris = ['sallyport://a/note://1', 'sallyport://b/note://1', 'sallyport://c/note://1', 'file:///x']
  const listen = f.send(
    f.modernRequest(
      'subscriptions/listen',
      { notifications: { toolsListChanged: true, resourceSubscriptions: uris, taskIds: ['b/t1'] } },
      'L',
    ),
  )
  await settle()
  expect([a.calls[0]?.message.params.notifications, b.calls[0]?.message.params.notifications]).toEqual([
    { toolsListChanged: true, resourceSubscriptions: ['note://1'] },
    { toolsListChanged: true, resourceSubscriptions: ['note://1'], taskIds: ['t1'] },
  ])
  expect(a.calls[0]?.message.id).toBe('L')
  const acknowledged = 'notifications/subscriptions/acknowledged'
  say(a, { jsonrpc: '2.0', method: acknowledged, params: { notifications: { resourceSubscriptions: ['note://1'] }, _meta: meta } })
  say(a, { jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'note://1', _meta: meta } })
  await settle()
  expect(listen.events).toEqual([])
  say(b, { jsonrpc: '2.0', method: acknowledged, params: { notifications: { taskIds: ['t1', 'other'] }, _meta: meta } })
  say(b, { jsonrpc: '2.0', method: 'notifications/tasks', params: { taskId: 't1', status: 'working', _meta: meta } })
  say(b, { jsonrpc: '2.0', id: 'L', result: {} })
  await settle()
  expect(listen.events).toEqual([
    {
      jsonrpc: '2.0',
      method: acknowledged,
      params: {
        notifications: { toolsListChanged: true, resourceSubscriptions: ['sallyport://a/note://1'], taskIds: ['b/t1'] },
        _meta: meta,
      },
    },
    { jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'sallyport://a/note://1', _meta: meta } },
    { jsonrpc: '2.0', method: 'notifications/tasks', params: { taskId: 'b/t1', status: 'working', _meta: meta } },
  ])
  say(a, { jsonrpc: '2.0', method: 'notifications/tools/list_changed', params: { _meta: meta } })
  f.endpoint.membersChanged()
  await f.timers.advance(250)
  expect(listen.events.slice(3)).toEqual([{ jsonrpc: '2.0', method: 'notifications/tools/list_changed', params: { _meta: meta } }])
  listen.leave()
  await settle()
  expect(a.calls.at(-1)?.signal.aborted).toBe(true)
})

test('a listen waits 2 s for a member that says nothing, and follows the members', async () => {
  const [a, b] = [fakeMember('a', ['x']), fakeMember('b', ['y'])]
  for (const member of [a, b]) member.on['subscriptions/listen'] = () => undefined
  const f = createFixture([a])
  const listen = f.send(f.modernRequest('subscriptions/listen', { notifications: { toolsListChanged: true } }, 3))
  await f.timers.advance(1999)
  expect(listen.events).toEqual([])
  await f.timers.advance(1)
  expect(listen.events).toMatchObject([
    { params: { notifications: { toolsListChanged: true }, _meta: { 'io.modelcontextprotocol/subscriptionId': 3 } } },
  ])
  f.members = [b]
  f.endpoint.membersChanged('user:ana')
  await f.timers.advance(250)
  expect(last(listen)).toMatchObject({ method: 'notifications/tools/list_changed' })
  expect([a.calls[0]?.signal.aborted, b.methods()]).toEqual([true, ['subscriptions/listen']])
})

test('an owner may have so many subscriptions; one that cannot be read is refused', async () => {
  const f = createFixture([], { listensPerOwner: 1 })
  f.send(f.modernRequest('subscriptions/listen', { notifications: { toolsListChanged: true } }, 1))
  await settle()
  expect((await f.modern('subscriptions/listen', { notifications: { toolsListChanged: true } }, 2)).status).toBe(429)
  expect((await f.modern('subscriptions/listen', {}, 2)).json.error.code).toBe(-32602)
})

test('what is kept of clients and members is small', async () => {
  const a = fakeMember('a', ['x'])
  const f = createFixture([a])
  const long = 'x'.repeat(300 * 1024)
  const opening = { jsonrpc: '2.0', id: 1, method: 'initialize', params: { protocolVersion: '2025-11-25', clientInfo: { name: long } } }
  expect((await f.ask({ text: JSON.stringify(opening) })).status).toBe(413)
  const session = await f.open()
  await f.call(session, 'tools/list')
  expect((await f.call(session, 'resources/subscribe', { uri: `sallyport://a/${long}` })).json.error.code).toBe(-32602)
  expect((await f.call(session, 'tools/call', { name: 'a_x' }, long)).json.error.code).toBe(-32600)
  const uris = Array.from({ length: 4 }, () => `sallyport://a/${long}`)
  expect((await f.modern('subscriptions/listen', { notifications: { resourceSubscriptions: uris } })).status).toBe(413)
  expect(
    (await f.modern('subscriptions/listen', { notifications: { taskIds: Array.from({ length: 1001 }, () => 'a/t') } })).json.error.code,
  ).toBe(-32602)
  const stream = f.send(get(session))
  await settle()
  a.emit({ jsonrpc: '2.0', id: long, method: 'roots/list' })
  a.emit({ jsonrpc: '2.0', id: 1, method: 'roots/list', params: { _meta: { progressToken: long } } })
  a.emit({ jsonrpc: '2.0', id: [1], method: 'roots/list' })
  a.emit({ jsonrpc: '2.0', id: null, method: 'roots/list' })
  await settle()
  expect(stream.events).toEqual([])
})

test('a client is asked only so many things at a time by one server', async () => {
  const a = fakeMember('a', ['x'])
  const f = createFixture([a])
  const session = await f.open()
  await f.call(session, 'tools/list')
  const stream = f.send(get(session))
  await settle()
  for (let id = 0; id < 101; id++) a.emit({ jsonrpc: '2.0', id, method: 'ping' })
  await settle()
  expect(stream.events).toHaveLength(100)
})

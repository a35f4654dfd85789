import { expect, test } from 'vitest'
import { AppError } from '../lib/errors.ts'
import { createFixture } from '../../test/fakes/mcp-endpoint.ts'
import { eventsOf, never, result, streamed } from '../../test/fakes/memory-upstream.ts'

const call = (id: string, name: string) => `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"${name}"}}`
const list = (id: string, what = 'tools') => `{"jsonrpc":"2.0","id":${id},"method":"${what}/list"}`
const VERSION = '2026-07-28'
const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"${VERSION}","io.modelcontextprotocol/clientCapabilities":{}}`

function modern(id: string, method: string, params = '') {
  const name = /"(?:name|uri)":"([^"]*)"/.exec(params)?.[1]
  return {
    text: `{"jsonrpc":"2.0","id":${id},"method":"${method}","params":{${meta}${params && `,${params}`}}}`,
    headers: { 'mcp-protocol-version': VERSION, 'mcp-method': method, ...(name !== undefined && { 'mcp-name': name }) },
  }
}

test.each(['null', '"x"', '{}', 'undefined'])('a list whose tools are %s is refused with a clear error', async (tools) => {
  const f = createFixture()
  const session = await f.open()
  f.upstream.script = (message) => result(message, tools === 'undefined' ? '{}' : `{"tools":${tools}}`)
  const { status, text } = await f.call(session, list('1'))
  expect(status).toBe(502)
  expect(JSON.parse(text)).toMatchObject({ id: 1, error: { message: 'the MCP server sent a response without a readable list "tools"' } })
})

const TOOLS =
  '{"tools":[{"name":"get_a","x":1.0,"y":12345678901234567890,"__proto__":{"z":1e3}},{"name":"rm"},{"NAME":"echo"},7],"nextCursor":"c","more":-0}'
const FILTERED = '{"tools":[{"name":"get_a","x":1.0,"y":12345678901234567890,"__proto__":{"z":1e3}}],"nextCursor":"c","more":-0}'

test('a list is filtered alike in JSON and in events, everything else kept to the letter', async () => {
  const f = createFixture()
  const session = await f.open()
  f.upstream.script = (message) => result(message, TOOLS)
  expect((await f.call(session, list('1'))).text).toBe(`{"jsonrpc":"2.0","id":1,"result":${FILTERED}}`)
  f.upstream.script = (message) => streamed(message, TOOLS)
  expect((await f.call(session, list('2'))).text).toBe(`data: {"jsonrpc":"2.0","id":2,"result":${FILTERED}}\n\n`)
})

test('no tool left is an empty list, and an error stays an error', async () => {
  const f = createFixture({ allow: { tools: ['nothing'] } })
  const session = await f.open()
  f.upstream.script = (message) => result(message, TOOLS)
  expect(JSON.parse((await f.call(session, list('1'))).text).result).toEqual({ tools: [], nextCursor: 'c', more: -0 })
  const error = '{"jsonrpc":"2.0","id":2,"error":{"code":-32603,"message":"no","data":{"n":1.0}}}'
  f.upstream.script = () => ({ kind: 'message', bytes: Buffer.from(error) })
  expect((await f.call(session, list('2'))).text).toBe(error)
})

test.each(['tools/list', 'tools/call'])('an error that has no text is passed on as it is: %s', async (method) => {
  const f = createFixture()
  const session = await f.open()
  for (const members of [
    '"code":9007199254740993,"message":"m"',
    '"code":{"toString":1},"message":{"valueOf":1,"toString":[]}',
    '"code":null',
  ]) {
    const error = `{"jsonrpc":"2.0","id":2,"error":{${members}}}`
    f.upstream.script = () => ({ kind: 'message', bytes: Buffer.from(error) })
    const { status, text } = await f.call(session, `{"jsonrpc":"2.0","id":2,"method":"${method}","params":{"name":"echo"}}`)
    expect([status, text]).toEqual([200, error])
  }
})

test('an error beside a list does not carry the list past the filter', async () => {
  const f = createFixture()
  const session = await f.open()
  f.upstream.script = () => ({
    kind: 'message',
    bytes: Buffer.from('{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"rm"}]},"error":{},"result":5}'),
  })
  expect((await f.call(session, list('1'))).text).not.toContain('rm')
})

test('a filtered list is nobody else’s to cache', async () => {
  const f = createFixture()
  f.upstream.script = (message) => result(message, '{"tools":[],"ttlMs":60000,"cacheScope":"public","resultType":"complete"}')
  const { text } = await f.ask(modern('1', 'tools/list'))
  expect(JSON.parse(text).result).toEqual({ tools: [], ttlMs: 60000, cacheScope: 'private', resultType: 'complete' })
})

test('a list that comes as the answer to another request is not passed on', async () => {
  const f = createFixture()
  const session = await f.open()
  f.upstream.script = (message, signal) =>
    message.method === 'tools/list' ? never(signal) : { kind: 'message', bytes: Buffer.from(`{"jsonrpc":"2.0","id":5,"result":${TOOLS}}`) }
  f.send({ text: list('5'), headers: { 'mcp-session-id': session } })
  const answer = await f.call(session, call('6', 'echo'))
  expect(answer.status).toBe(502)
  expect(JSON.parse(answer.text)).toMatchObject({
    id: 6,
    error: { message: 'the MCP server did not answer this request with one clear JSON-RPC response' },
  })
})

test.each([
  '[]',
  '{"jsonrpc":"2.0","method":"x","id":1}',
  '{"jsonrpc":"2.0","id":1}',
  '{"jsonrpc":"2.0","id":1,"result":1,"error":{}}',
  'oops',
])('what is no response is no answer: %s', async (text) => {
  const f = createFixture()
  const session = await f.open()
  f.upstream.script = () => ({ kind: 'message', bytes: Buffer.from(text) })
  const answer = await f.call(session, call('1', 'echo'))
  expect(answer.status).toBe(502)
  expect(JSON.parse(answer.text)).toMatchObject({ id: 1, error: { code: -32603 } })
})

test('a list on the GET stream is judged as the answer it is; a response nobody waits for is dropped', async () => {
  const f = createFixture()
  const session = await f.open()
  f.upstream.script = (message) => {
    const reply = eventsOf([])
    if (reply.kind !== 'events') throw new Error('no events')
    // Ends early after an event with an id: the client resumes by GET.
    const events = (async function* () {
      yield { raw: Buffer.from('id: 1\ndata:\n\n'), event: 'message', data: Buffer.alloc(0), hasData: true, id: '1', isComment: false }
    })()
    return message.method === 'tools/list' ? { kind: 'events', events } : reply
  }
  expect((await f.call(session, list('5'))).text).toBe('id: 1\ndata:\n\n')
  const stream = f.send({ method: 'GET', headers: { 'mcp-session-id': session, accept: 'text/event-stream' } })
  await stream.begun
  f.upstream.emit(`{"jsonrpc":"2.0","id":99,"result":${TOOLS}}`)
  f.upstream.emit(`{"jsonrpc":"2.0","id":5,"result":${TOOLS}}`)
  f.upstream.emit(`{"jsonrpc":"2.0","id":5,"result":${TOOLS}}`)
  const withoutIds = () => stream.text.replaceAll(/^id: .*\n(data: \n\n)?/gm, '')
  await expect.poll(withoutIds).toBe(`: keep-alive\n\ndata: {"jsonrpc":"2.0","id":5,"result":${FILTERED}}\n\n`)
  f.endpoint.cut(() => 'locked: lunch')
  await stream.ended
  expect(stream.text).toMatch(/\n\n: locked: lunch\n\n$/)
})

test('a list on the GET stream that cannot be judged becomes the error of its request', async () => {
  const f = createFixture()
  const session = await f.open()
  f.upstream.script = (_, signal) => never(signal)
  f.send({ text: list('5'), headers: { 'mcp-session-id': session } })
  const stream = f.send({ method: 'GET', headers: { 'mcp-session-id': session, accept: 'text/event-stream' } })
  await stream.begun
  f.upstream.emit('{"jsonrpc":"2.0","id":5,"result":{"tools":null}}')
  await expect
    .poll(() => stream.text)
    .toContain('{"jsonrpc":"2.0","id":5,"error":{"code":-32603,"message":"the MCP server sent a response without a readable list')
})

test('an id in use in a legacy session is refused, one given up is free again', async () => {
  const f = createFixture()
  const session = await f.open()
  f.upstream.script = (_, signal) => never(signal)
  const first = f.send({ text: call('1', 'echo'), headers: { 'mcp-session-id': session } })
  const second = await f.call(session, call('1.0', 'echo'))
  expect(second.status).toBe(400)
  const cancelled = await f.call(session, '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}')
  expect(cancelled.status).toBe(202)
  await first.ended
  expect(first).toMatchObject({ status: 200 })
  expect(JSON.parse(first.text)).toMatchObject({ id: 1, error: { message: 'the request was cancelled' } })
  // Whoever broke the request off tells the server; the notification itself went no further.
  expect(f.upstream.sent.some((text) => text.includes('notifications/cancelled'))).toBe(false)
  f.upstream.script = (message) => result(message, '{}')
  expect((await f.call(session, call('1', 'echo'))).status).toBe(200)
})

test('nobody cancels what is not theirs', async () => {
  const f = createFixture()
  const mine = await f.open()
  const other = await f.open()
  f.upstream.script = (_, signal) => never(signal)
  const pending = f.send({ text: call('1', 'echo'), headers: { 'mcp-session-id': mine } })
  await expect.poll(() => f.upstream.sent.length).toBe(3)
  f.upstream.sent.length = 0
  expect((await f.call(other, '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}')).status).toBe(202)
  expect(f.upstream.sent).toEqual([])
  expect(pending.status).toBe(0)
})

test('a response to what the server never asked is refused, a real one passes once', async () => {
  const f = createFixture()
  const session = await f.open()
  f.upstream.sent.length = 0
  const answer = '{"jsonrpc":"2.0","id":"s-1","result":{"roots":[]}}'
  expect((await f.call(session, answer)).status).toBe(400)
  const stream = f.send({ method: 'GET', headers: { 'mcp-session-id': session, accept: 'text/event-stream' } })
  await stream.begun
  f.upstream.emit('{"jsonrpc":"2.0","id":"s-1","method":"roots/list"}')
  await expect.poll(() => stream.text).toContain('roots/list')
  expect((await f.call(session, answer)).status).toBe(202)
  expect((await f.call(session, answer)).status).toBe(400)
  expect(f.upstream.sent).toEqual([answer])
})

test('modern requests of one credential may share an id, each judged by its own stream', async () => {
  const f = createFixture()
  const gate = Promise.withResolvers<void>()
  f.upstream.script = async (message) => {
    await gate.promise
    return streamed(message, message.method === 'tools/list' ? TOOLS : '{"content":[]}')
  }
  const listing = f.ask(modern('1', 'tools/list'))
  const calling = f.ask(modern('1', 'tools/call', '"name":"echo"'))
  gate.resolve()
  expect((await listing).text).toBe(`data: {"jsonrpc":"2.0","id":1,"result":${FILTERED}}\n\n`)
  expect((await calling).text).toBe('data: {"jsonrpc":"2.0","id":1,"result":{"content":[]}}\n\n')
  expect(f.upstream.opened).toHaveLength(1)
})

test('a modern client cancels by going away, a legacy one does not', async () => {
  const f = createFixture()
  const aborted: string[] = []
  f.upstream.script = (message, signal) => {
    signal.addEventListener('abort', () => aborted.push(message.id ?? ''))
    return never(signal)
  }
  const session = await f.open()
  const legacy = f.send({ text: call('1', 'echo'), headers: { 'mcp-session-id': session } })
  const request = f.send(modern('2', 'tools/call', '"name":"echo"'))
  await expect.poll(() => f.upstream.sent.length).toBe(3)
  legacy.leave()
  request.leave()
  await request.ended
  expect(aborted).toEqual(['2'])
})

async function* pieces(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) {
    if (text === 'fail') throw new AppError('unavailable', 'the connection broke', { origin: 'upstream_unreachable' })
    yield Buffer.from(text)
  }
}

test('a large answer passes piece by piece, and its size is recorded', async () => {
  const f = createFixture()
  const session = await f.open()
  f.upstream.script = () => ({ kind: 'stream', chunks: pieces('{"id":1,', '"result":{}', '}') })
  expect(await f.call(session, call('1', 'echo'))).toMatchObject({ status: 200, text: '{"id":1,"result":{}}' })
  expect(f.events.at(-1)).toMatchObject({ success: true, result_bytes: 20 })
})

test('an answer that breaks off is broken off, or an error when nothing of it was sent', async () => {
  const f = createFixture()
  const session = await f.open()
  f.upstream.script = () => ({ kind: 'stream', chunks: pieces('{"a":', '1', 'fail') })
  const cut = await f.call(session, call('1', 'echo'))
  expect(await cut.ended).toBe('aborted')
  expect(f.events.at(-1)).toMatchObject({ success: false, error: 'the connection broke' })
  f.upstream.script = () => ({ kind: 'stream', chunks: pieces('fail') })
  expect(await f.call(session, call('2', 'echo'))).toMatchObject({
    status: 502,
    headers: { 'sallyport-error-origin': 'upstream_unreachable' },
  })
})

test('a stream that ends without the answer ends with an error', async () => {
  const f = createFixture()
  const session = await f.open()
  f.upstream.script = () => eventsOf(['{"jsonrpc":"2.0","method":"notifications/progress","params":{}}'])
  expect((await f.call(session, call('1', 'echo'))).text).toContain(
    '"id":1,"error":{"code":-32603,"message":"the MCP server ended its stream without an answer"',
  )
})

test.each([
  [401, '{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"secret realm"}}', 502, "refused the gateway's credentials (HTTP 401)"],
  [500, 'a stack trace', 502, 'answered with HTTP 500'],
  [404, '', 404, 'no longer knows this session'],
  [400, '{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"bad input"}}', 400, 'bad input'],
])('HTTP %i of the server becomes what the client can act on', async (from, body, to, message) => {
  const f = createFixture()
  const session = await f.open()
  f.upstream.script = () => ({ kind: 'refused', status: from, bytes: Buffer.from(body), contentType: 'application/json' })
  const answer = await f.call(session, call('1', 'echo'))
  expect(answer).toMatchObject({ status: to, headers: { 'sallyport-error-origin': 'upstream' }, text: expect.stringContaining(message) })
  expect(answer.text).not.toMatch(/realm|stack/)
})

test('a modern client that posts a cancellation cancels nothing: others may use the same id', async () => {
  const f = createFixture()
  f.upstream.script = (_, signal) => never(signal)
  const pending = f.send(modern('1', 'tools/call', '"name":"echo"'))
  await expect.poll(() => f.upstream.sent.length).toBe(1)
  const text = `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{${meta},"requestId":1}}`
  expect((await f.ask({ text, headers: { 'mcp-protocol-version': VERSION } })).status).toBe(202)
  expect(f.upstream.sent).toHaveLength(1)
  expect(pending.status).toBe(0)
})

test.each(['upstream', 'upstream_unreachable', 'gateway'] as const)('a failure of %s is counted as such', async (origin) => {
  const f = createFixture()
  const session = await f.open()
  f.upstream.script = () => Promise.reject(new AppError('unavailable', 'no', { origin }))
  await f.call(session, '{"jsonrpc":"2.0","id":5,"method":"tools/list"}')
  expect(f.counted).toEqual([
    ['success', undefined],
    ['unanswered', origin],
  ])
})

test('what a lock ends is the gateway’s doing', async () => {
  const f = createFixture()
  const session = await f.open()
  f.upstream.script = (_, signal) => never(signal)
  const listed = f.send({ text: '{"jsonrpc":"2.0","id":5,"method":"tools/list"}', headers: { 'mcp-session-id': session } })
  await new Promise((resolve) => setImmediate(resolve))
  f.endpoint.cut(() => 'locked')
  await listed.ended
  expect(f.counted.at(-1)).toEqual(['unanswered', 'gateway'])
})

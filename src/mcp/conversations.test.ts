import { expect, test } from 'vitest'
import { createFixture, NOW } from '../../test/fakes/mcp-endpoint.ts'
import { eventsOf, never, result } from '../../test/fakes/memory-upstream.ts'

const call = (id: string, name: string) => `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"${name}"}}`
const VERSION = '2026-07-28'
const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"${VERSION}","io.modelcontextprotocol/clientCapabilities":{}}`

function modern(id: string, method: string, params = '') {
  const name = /"(?:name|uri)":"([^"]*)"/.exec(params)?.[1]
  return {
    text: `{"jsonrpc":"2.0","id":${id},"method":"${method}","params":{${meta}${params && `,${params}`}}}`,
    headers: { 'mcp-protocol-version': VERSION, 'mcp-method': method, ...(name !== undefined && { 'mcp-name': name }) },
  }
}

test('a full journal does not keep the server of an ended session alive', async () => {
  const f = createFixture()
  const session = await f.open()
  f.upstream.script = (_, signal) => never(signal)
  const pending = f.send({ text: call('1', 'echo'), headers: { 'mcp-session-id': session } })
  await Promise.resolve()
  f.journal.isFull = true
  f.endpoint.cut(() => 'locked')
  await pending.ended
  expect(pending.text).toContain('locked')
  expect(f.upstream.closed).toBe(1)
})

test('requests without an answer are no more than can be kept, whether their clients are there or not', async () => {
  const f = createFixture()
  const session = await f.open()
  f.upstream.script = (_, signal) => never(signal)
  const headers = { 'mcp-session-id': session }
  const large = (id: number) => call(String(id), `echo","arguments":{"x":"${'x'.repeat(10_000_000)}"},"y":"`)
  const sent = Array.from({ length: 7 }, (_, id) => f.send({ text: large(id), headers }))
  for (const one of sent) one.leave()
  expect((await f.ask({ text: call('7', 'echo'), headers })).text).toContain('7 requests of this MCP session have no answer yet')
  await f.ask({ text: '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}', headers })
  f.upstream.script = (message) => result(message, '{}')
  expect((await f.ask({ text: call('8', 'echo'), headers })).status).toBe(200)
})

test('a server that asks under an id of any length gets no answer', async () => {
  const f = createFixture()
  const session = await f.open()
  const id = (length: number) => JSON.stringify('x'.repeat(length))
  const headers = { 'mcp-session-id': session }
  for (const [length, status] of [
    [1000, 202],
    [2000, 400],
  ] as const) {
    f.upstream.script = ({ kind }) =>
      kind === 'request'
        ? eventsOf([`{"jsonrpc":"2.0","id":${id(length)},"method":"roots/list"}`, '{"jsonrpc":"2.0","id":1,"result":{}}'])
        : { kind: 'accepted' }
    await f.call(session, call('1', 'echo'))
    expect((await f.ask({ text: `{"jsonrpc":"2.0","id":${id(length)},"result":{"roots":[]}}`, headers })).status).toBe(status)
  }
})

test('headers made of traits are not those of yesterday', async () => {
  const f = createFixture()
  await f.ask(modern('1', 'tools/list'), f.caller('ana', { traits: { team: ['a'] } }))
  await f.ask(modern('1', 'tools/list'), f.caller('ana', { traits: { team: ['b'] } }))
  expect(f.upstream.opened).toHaveLength(2)
})

test('a session is not opened by who was locked out while the server started', async () => {
  const f = createFixture()
  const gate = Promise.withResolvers<void>()
  f.upstream.gate = gate.promise
  const opening = f.send({ text: '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}' })
  f.standing.reason = 'lock targeting user:"ana" is in force'
  f.endpoint.cut(() => f.standing.reason)
  gate.resolve()
  await opening.ended
  expect(opening).toMatchObject({ status: 403, text: expect.stringContaining('is in force') })
  expect(f.upstream.sent).toEqual([])
  expect(f.upstream.closed).toBe(1)
})

test('nothing is opened on an endpoint that was closed', async () => {
  const f = createFixture()
  await f.endpoint.close()
  expect((await f.ask({ text: '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}' })).status).toBe(503)
  expect(f.upstream.opened).toEqual([])
})

test('what ends a session ends its requests and streams with the reason', async () => {
  const f = createFixture()
  f.upstream.script = (_, signal) => never(signal)
  const session = await f.open()
  const headers = { 'mcp-session-id': session, accept: 'text/event-stream' }
  const request = f.send({ text: call('1', 'echo'), headers })
  const stream = f.send({ method: 'GET', headers })
  await stream.begun
  f.upstream.exit('the process exited with code 1')
  await Promise.all([request.ended, stream.ended])
  expect(request).toMatchObject({ status: 502, text: expect.stringContaining('the process exited with code 1') })
  expect((await f.call(session, call('2', 'echo'))).status).toBe(404)
  expect(f.events.filter(({ event }) => event === 'mcp.session.end')).toMatchObject([
    { success: false, reason: 'the process exited with code 1' },
  ])
})

test('a session ends with the credential that opened it, and when nobody used it', async () => {
  const f = createFixture({}, { idleMs: 60_000 })
  const short = await f.open(f.caller('ana', { expiresAt: NOW + 30_000 }))
  const idle = await f.open()
  f.clock.now = NOW + 30_000
  f.endpoint.sweep()
  expect((await f.call(short, call('1', 'echo'))).status).toBe(404)
  expect((await f.call(idle, '{"jsonrpc":"2.0","id":1,"method":"ping"}')).status).toBe(200)
  f.clock.now = NOW + 90_001
  f.endpoint.sweep()
  expect((await f.call(idle, '{"jsonrpc":"2.0","id":2,"method":"ping"}')).status).toBe(404)
  const ends = f.events.filter(({ event }) => event === 'mcp.session.end')
  expect(ends).toMatchObject([{ success: false, reason: expect.stringContaining('has expired') }, { success: true }])
})

test('a call keeps its session while its client is there, and for as long as an unused one has when it is gone', async () => {
  const f = createFixture(undefined, { idleMs: 60_000 })
  const session = await f.open()
  f.upstream.script = (_, signal) => never(signal)
  const pending = f.send({ text: call('1', 'echo'), headers: { 'mcp-session-id': session } })
  await expect.poll(() => f.upstream.sent.length).toBe(2)
  f.clock.now += 600_000
  f.endpoint.sweep()
  pending.leave()
  f.clock.now += 60_000
  f.endpoint.sweep()
  expect(f.upstream.closed).toBe(0)
  f.clock.now += 1000
  f.endpoint.sweep()
  await pending.served
  expect(f.upstream.closed).toBe(1)
})

test('the end of a credential ends the call and the stream that are under way, and each is recorded once', async () => {
  const f = createFixture()
  const short = f.caller('ana', { expiresAt: NOW + 30_000 })
  f.upstream.script = (_, signal) => never(signal)
  const headers = { 'mcp-session-id': await f.open(short), accept: 'text/event-stream' }
  const [request, stream] = [f.send({ text: call('1', 'echo'), headers }, short), f.send({ method: 'GET', headers }, short)]
  const { text, headers: own } = modern('2', 'tools/call', '"name":"echo"')
  const shared = f.send({ text, headers: { ...own, accept: 'text/event-stream' } }, short)
  await stream.begun
  f.clock.now = NOW + 30_000
  f.endpoint.sweep()
  await Promise.all([request.ended, stream.ended, shared.ended])
  for (const answered of [request, stream, shared]) expect(answered.text).toContain('has expired: sign in again')
  const failed = { success: false, outcome: 'failure' }
  expect(f.events.filter(({ tool }) => tool === 'echo')).toMatchObject([failed, failed])
  expect(f.events.filter(({ event }) => event === 'mcp.session.end')).toMatchObject([failed, failed])
})

test('streams are kept alive, and keep their session', async () => {
  const f = createFixture({}, { idleMs: 60_000, keepAliveMs: 15_000 })
  const session = await f.open(undefined, '2025-06-18')
  const stream = f.send({ method: 'GET', headers: { 'mcp-session-id': session, accept: 'text/event-stream' } })
  await stream.begun
  f.clock.now += 15_000
  f.endpoint.sweep()
  f.clock.now += 600_000
  f.endpoint.sweep()
  expect(stream.text).toBe(': keep-alive\n\n'.repeat(3))
  const next = f.send({ method: 'GET', headers: { 'mcp-session-id': session, accept: 'text/event-stream' } })
  await stream.ended
  await next.begun
})

test('streams are kept alive a few at a time', async () => {
  const f = createFixture({}, { perCaller: 10, keepAliveMs: 1000 })
  const streams: ReturnType<typeof f.send>[] = []
  for (let n = 0; n < 10; n++) {
    const stream = f.send({ method: 'GET', headers: { 'mcp-session-id': await f.open(), accept: 'text/event-stream' } })
    await stream.begun
    streams.push(stream)
  }
  const alive = (): number => streams.map(({ text }) => text.split(': keep-alive\n\n').length - 1).reduce((sum, count) => sum + count)
  const steps: number[] = []
  for (let step = 0; step < 10; step++) {
    const so = alive()
    f.clock.now += 100
    f.endpoint.sweep()
    steps.push(alive() - so)
  }
  expect(steps).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 1, 1])
  expect(new Set(streams.map(({ text }) => text.split(': keep-alive\n\n').length - 1))).toEqual(new Set([2]))
})

test('a caller has only so many sessions, those being opened included; the idlest makes room', async () => {
  const f = createFixture({}, { perCaller: 2 })
  const first = await f.open()
  f.clock.now += 1
  const second = await f.open()
  f.clock.now += 1
  const third = await f.open()
  expect((await f.call(first, '{"jsonrpc":"2.0","id":1,"method":"ping"}')).status).toBe(404)
  expect((await f.call(second, '{"jsonrpc":"2.0","id":1,"method":"ping"}')).status).toBe(200)
  expect((await f.call(third, '{"jsonrpc":"2.0","id":1,"method":"ping"}')).status).toBe(200)
  const gate = Promise.withResolvers<void>()
  f.upstream.gate = gate.promise
  const text = '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}'
  const bob = f.caller('bob')
  const three = [1, 2, 3].map(() => f.send({ text }, bob))
  await three.at(-1)?.ended
  expect(three.map(({ status }) => status)).toEqual([0, 0, 429])
  gate.resolve()
  await Promise.all(three.map(({ ended }) => ended))
  expect(three.map(({ status }) => status)).toEqual([200, 200, 429])
})

test('all callers together have only so many', async () => {
  const f = createFixture({}, { total: 1 })
  await f.open()
  expect(await f.ask({ text: '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}' }, f.caller('bob'))).toMatchObject({
    status: 429,
  })
})

test('times are those of a clock nobody sets, to the microsecond', async () => {
  const f = createFixture()
  const session = await f.open()
  f.upstream.script = (message) => {
    f.clock.now -= 5000
    f.clock.monotonic += 12.34567
    return result(message, '{}')
  }
  await f.call(session, call('1', 'echo'))
  expect(f.events.at(-1)).toMatchObject({ event: 'mcp.session.request', latency_ms: 12.346 })
})

test('a client that reads nothing does not hold up the end', async () => {
  const f = createFixture()
  const session = await f.open()
  f.upstream.script = () =>
    eventsOf([
      '{"jsonrpc":"2.0","method":"notifications/progress","params":{}}',
      '{"jsonrpc":"2.0","method":"notifications/progress","params":{}}',
    ])
  const written: string[] = []
  const blocked = Promise.withResolvers<void>()
  const slow = f.send({
    text: call('1', 'echo'),
    headers: { 'mcp-session-id': session },
    answer: {
      head: () => undefined,
      write: (chunk) => {
        written.push(Buffer.from(chunk).toString())
        return false
      },
      drained: () => {
        blocked.resolve()
        return new Promise(() => undefined)
      },
      end: () => void written.push('end'),
      abort: () => undefined,
    },
  })
  await blocked.promise
  f.endpoint.cut(() => 'locked')
  await slow.served
  expect(written.at(-2)).toContain('"id":1,"error":{"code":-32603,"message":"locked"}')
  expect(written.at(-1)).toBe('end')
})

test('a conversation in which something waits for its client is not idle, and is once nothing waits', async () => {
  const f = createFixture({}, { idleMs: 60_000 })
  const session = await f.open()
  f.upstream.isWaiting = true
  f.clock.now += 600_000
  f.endpoint.sweep()
  expect(f.upstream.closed).toBe(0)
  f.upstream.isWaiting = false
  f.clock.now += 1000
  f.endpoint.sweep()
  expect((await f.call(session, '{"jsonrpc":"2.0","id":1,"method":"ping"}')).status).toBe(404)
})

import { afterEach, describe, expect, test } from 'vitest'
import { createFixture, type Fixture } from '../../test/fakes/mcp-endpoint.ts'
import { eventsOf, never, result } from '../../test/fakes/memory-upstream.ts'
import { AppError } from '../lib/errors.ts'
import type { HttpExchange } from '../lib/http-exchange.ts'
import { silentLogger } from '../lib/log.ts'
import { type Caller, ownerOf } from './caller.ts'
import { SseDoor } from './sse-door.ts'
import type { SseDoorLimits } from './sse-door-limits.ts'

/** One HTTP request through the door, as its client sees it. */
interface Visit {
  status: number
  headers: Readonly<Record<string, string>>
  text: string
  end: 'ended' | 'aborted' | undefined
  /** Whether the client reads; one that does not is never ready for more. */
  isReading: boolean
  /** Settles when the door is done with it. */
  served: Promise<void>
  leave(): void
}

interface Made extends Omit<Fixture, 'open' | 'send' | 'ask' | 'call'> {
  door: SseDoor<Caller>
  visit(request: Partial<HttpExchange> & { text?: string }, caller?: Caller): Visit
}

const doors: SseDoor<Caller>[] = []
afterEach(async () => {
  for (const door of doors.splice(0)) await door.close('the test is over')
})

function make(limits: Partial<SseDoorLimits> = {}, serve?: SseDoor<Caller>['serve']): Made {
  const fixture = createFixture()
  let tokens = 0
  const door = new SseDoor<Caller>({
    serve: serve ?? ((exchange, caller) => fixture.endpoint.serve(exchange, caller)),
    ownerOf: ({ identity }) => ownerOf(identity),
    admits: (caller) => caller.access().decision.allow,
    reasonToLeave: (caller) => caller.reasonToLeave(),
    token: () => `stream-${++tokens}`,
    now: () => fixture.clock.now,
    log: silentLogger,
    limits,
  })
  doors.push(door)
  return { ...fixture, door, visit: (request, caller = fixture.caller()) => visit(door, request, caller) }
}

function visit(door: SseDoor<Caller>, { text, ...request }: Partial<HttpExchange> & { text?: string }, caller: Caller): Visit {
  const gone = new AbortController()
  const drained = Promise.withResolvers<void>()
  const made: Visit = {
    status: 0,
    headers: {},
    text: '',
    end: undefined,
    isReading: true,
    served: Promise.resolve(),
    leave: () => gone.abort(),
  }
  made.served = door.serve(
    {
      method: 'POST',
      path: '/mcp/apps/tools',
      headers: {},
      body: Buffer.from(text ?? ''),
      remoteAddress: '127.0.0.1',
      signal: gone.signal,
      answer: {
        head: (status, headers) => {
          made.status = status
          made.headers = headers
        },
        write: (chunk) => {
          made.text += Buffer.from(chunk).toString('utf8')
          return made.isReading
        },
        drained: () => drained.promise,
        end: (chunk) => {
          if (chunk) made.text += Buffer.from(chunk).toString('utf8')
          made.end = 'ended'
        },
        abort: () => {
          made.end = 'aborted'
          gone.abort()
        },
      },
      ...request,
    },
    caller,
  )
  return made
}

const GET = { method: 'GET', headers: { accept: 'text/event-stream' } }
const ENDPOINT = '/mcp/apps/tools?sessionId=stream-1'
const INITIALIZE = '{"jsonrpc":"2.0","id":"i","method":"initialize","params":{"protocolVersion":"2025-11-25"}}'
const post = (text: string, path = ENDPOINT) => ({ text, path })

/** The data of the `message` events on a stream. */
function messages({ text }: Visit): string[] {
  return [...text.matchAll(/event: message\ndata: (.*)\n\n/g)].map(([, data = '']) => data)
}

async function initialized(limits: Partial<SseDoorLimits> = {}): Promise<Made & { stream: Visit }> {
  const made = make(limits)
  const stream = made.visit(GET)
  made.visit(post(INITIALIZE))
  await expect.poll(() => messages(stream).length).toBe(1)
  return { ...made, stream }
}

describe('refused', () => {
  test("another's stream is as unknown as none", async () => {
    const made = make()
    made.visit(GET)
    for (const [path, name] of [
      [ENDPOINT, 'eve'],
      ['/mcp/apps/tools?sessionId=stream-2', 'ana'],
      ['/mcp/apps/tools?sessionId=', 'ana'],
    ])
      await expect(made.visit(post(INITIALIZE, path), made.caller(name)).served).rejects.toMatchObject({ code: 'not_found' })
    expect(made.upstream.opened).toEqual([])
  })

  test('a caller whom the roles do not let in gets no stream, but the answer and the event of the endpoint', async () => {
    const made = make()
    const nobody = made.caller('nobody', { roles: [] })
    const refusal = made.visit(GET, {
      ...nobody,
      access: () => ({ ...nobody.access(), decision: { allow: false, kind: 'no_role', reason: 'no role', by: null } }),
    })
    await refusal.served
    expect(refusal.status).toBe(403)
  })

  test.each([
    ['of one caller', { perOwner: 1 }, 'ana'],
    ['in all', { total: 1 }, 'bob'],
  ])('more streams than there may be %s', async (_, limits, name) => {
    const made = make(limits)
    const first = made.visit(GET)
    await expect(made.visit(GET, made.caller(name)).served).rejects.toMatchObject({ code: 'resource_exhausted' })
    first.leave()
    await first.served
    expect(made.visit(GET, made.caller(name)).text).toBe('event: endpoint\ndata: /mcp/apps/tools?sessionId=stream-2\n\n')
  })

  test.each([{ maxUnderWay: 1 }, { maxUnderWayBytes: 100 }])('more messages than may be under way: %o', async (limits) => {
    const made = make(limits, () => new Promise(() => undefined))
    made.visit(GET)
    const text = '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{}}}'
    expect(made.visit(post(text)).status).toBe(202)
    await expect(made.visit(post(text)).served).rejects.toMatchObject({ code: 'resource_exhausted' })
    doors.pop()
  })

  test('what the roles do not allow, on the stream', async () => {
    const { visit, stream, upstream } = await initialized()
    visit(post('{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"rm","arguments":{}}}'))
    await expect.poll(() => messages(stream).length).toBe(2)
    expect(JSON.parse(messages(stream)[1] ?? '')).toMatchObject({ id: 2, error: { code: -32602 } })
    expect(upstream.sent).toHaveLength(1)
  })

  test('a request before initialize, on the stream; a notification to nobody', async () => {
    const { visit } = make()
    const stream = visit(GET)
    visit(post('{"jsonrpc":"2.0","method":"notifications/initialized"}'))
    visit(post('{"jsonrpc":"2.0","id":3,"method":"ping"}'))
    await expect.poll(() => messages(stream).length).toBe(1)
    expect(JSON.parse(messages(stream)[0] ?? '')).toMatchObject({
      id: 3,
      error: { message: 'Mcp-Session-Id is required: initialize first' },
    })
  })
})

test.each([
  ['a session', { accept: 'text/event-stream', 'mcp-session-id': 'x' }],
  ['a revision', { accept: 'text/event-stream', 'mcp-protocol-version': '2025-11-25' }],
  ['no event stream', { accept: '*/*' }],
])('a GET that names %s is one of streamable HTTP', async (_, headers) => {
  const { visit } = make()
  const answer = visit({ method: 'GET', headers })
  await answer.served
  expect(answer.status).toBeGreaterThanOrEqual(400)
})

test('the endpoint comes first, posts are taken at once and answered on the stream', async () => {
  const { visit, upstream } = make()
  const stream = visit({ ...GET, path: '/mcp/apps/tools/sse?x=1' })
  expect(stream).toMatchObject({
    status: 200,
    headers: { 'content-type': 'text/event-stream' },
    text: 'event: endpoint\ndata: /mcp/apps/tools/sse?sessionId=stream-1\n\n',
  })
  const taken = visit(post(INITIALIZE))
  expect(taken).toMatchObject({ status: 202, text: '', end: 'ended' })
  await expect.poll(() => messages(stream).length).toBe(1)
  expect(JSON.parse(messages(stream)[0] ?? '')).toMatchObject({ id: 'i', result: { protocolVersion: '2025-11-25' } })

  upstream.script = (message) =>
    eventsOf(['{"jsonrpc":"2.0","method":"notifications/message","params":{}}', `{"jsonrpc":"2.0","id":${message.id},"result":{}}`])
  visit(post('{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"echo","arguments":{}}}'))
  await expect.poll(() => messages(stream).length).toBe(3)
  expect(messages(stream).slice(1)).toEqual([
    '{"jsonrpc":"2.0","method":"notifications/message","params":{}}',
    '{"jsonrpc":"2.0","id":4,"result":{}}',
  ])
})

test('messages outside requests come on the stream, and its client can answer them', async () => {
  const { visit, stream, upstream } = await initialized()
  const question = '{"jsonrpc":"2.0","id":"q","method":"roots/list"}'
  await expect
    .poll(() => {
      if (messages(stream).length < 2) upstream.emit(question)
      return messages(stream).length
    })
    .toBeGreaterThan(1)
  expect(messages(stream)[1]).toBe(question)
  visit(post('{"jsonrpc":"2.0","id":"q","result":{"roots":[]}}'))
  await expect.poll(() => upstream.sent.at(-1)).toBe('{"jsonrpc":"2.0","id":"q","result":{"roots":[]}}')
})

test('the end of the stream ends the session and what is under way', async () => {
  const { visit, stream, upstream, events } = await initialized()
  upstream.script = (_, signal) => never(signal)
  visit(post('{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"echo","arguments":{}}}'))
  await expect.poll(() => upstream.sent.length).toBe(2)
  stream.leave()
  await stream.served
  expect(upstream.closed).toBe(1)
  expect(events.map(({ event }) => event)).toContain('mcp.session.end')
  await expect(visit(post(INITIALIZE)).served).rejects.toMatchObject({ code: 'not_found' })
})

test('a session that is opened while its client goes away is ended', async () => {
  const made = make()
  const gate = Promise.withResolvers<void>()
  made.upstream.gate = gate.promise
  const stream = made.visit(GET)
  made.visit(post(INITIALIZE))
  await expect.poll(() => made.upstream.opened.length).toBe(1)
  stream.leave()
  gate.resolve()
  await stream.served
  expect(made.upstream.closed).toBe(1)
})

test('a second initialize replaces the session', async () => {
  const { visit, stream, upstream } = await initialized()
  visit(post(INITIALIZE))
  await expect.poll(() => messages(stream).length).toBe(2)
  await expect.poll(() => upstream.closed).toBe(1)
  visit(post('{"jsonrpc":"2.0","id":6,"method":"ping"}'))
  await expect.poll(() => messages(stream).length).toBe(3)
  expect(messages(stream)[2]).toBe('{"jsonrpc":"2.0","id":6,"result":{}}')
})

test('the end of the session ends the stream', async () => {
  const { stream, upstream, clock, door } = await initialized()
  upstream.exit('gone')
  await expect
    .poll(() => {
      clock.now += 1000
      door.sweep()
      return stream.end
    })
    .toBe('ended')
  expect(stream.text).toMatch(/: the MCP session has ended\n\n$/)
})

test('a caller who may stay no longer leaves with the next keep-alive', async () => {
  const { stream, standing, clock, door } = await initialized({ keepAliveMs: 15_000 })
  clock.now += 15_000
  door.sweep()
  expect(stream.text).toMatch(/: keep-alive\n\n$/)
  standing.reason = 'a lock is in force'
  clock.now += 14_999
  door.sweep()
  expect(stream.end).toBe(undefined)
  clock.now += 1
  door.sweep()
  await stream.served
  expect(stream.text).toMatch(/: a lock is in force\n\n$/)
})

test('a stream on which nothing begins is ended', async () => {
  const { visit, clock, door } = make({ silentMs: 60_000 })
  const stream = visit(GET)
  clock.now += 59_999
  door.sweep()
  expect(stream.end).toBe(undefined)
  clock.now += 1
  door.sweep()
  await stream.served
  expect(stream.end).toBe('ended')
})

test('a client that does not read is cut off, and its session ends', async () => {
  const { visit, stream, upstream } = await initialized({ maxBufferedBytes: 1000 })
  stream.isReading = false
  upstream.script = (message) => result(message, JSON.stringify('x'.repeat(400)))
  for (const id of [1, 2, 3]) visit(post(`{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"echo","arguments":{}}}`))
  await stream.served
  expect(stream.end).toBe('aborted')
  expect(messages(stream)).toHaveLength(4)
  expect(upstream.closed).toBe(1)
})

test('a message that is too large is an error for its request alone', async () => {
  const { visit, stream, upstream } = await initialized({ maxMessageBytes: 300 })
  upstream.script = (message) => result(message, JSON.stringify('x'.repeat(message.id === '1' ? 400 : 1)))
  for (const id of [1, 2]) {
    visit(post(`{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"echo","arguments":{}}}`))
    await expect.poll(() => messages(stream).length).toBe(id + 1)
  }
  expect(JSON.parse(messages(stream)[1] ?? '')).toMatchObject({ id: 1, error: { message: /larger than 300 bytes/ } })
  expect(messages(stream)[2]).toBe('{"jsonrpc":"2.0","id":2,"result":"x"}')
})

test('what the endpoint is asked names the session, and the revision when the client does not', async () => {
  const asked: Pick<HttpExchange, 'method' | 'headers'>[] = []
  const { visit } = make({}, async ({ method, headers, body, answer }) => {
    asked.push({ method, headers })
    if (method === 'GET') {
      answer.head(405, {})
      return answer.end()
    }
    answer.head(200, { 'content-type': 'application/json', ...(body.includes('initialize') && { 'mcp-session-id': 's' }) })
    answer.end(Buffer.from('{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18"}}'))
  })
  const stream = visit(GET)
  visit(post(INITIALIZE))
  await expect.poll(() => asked.length).toBe(2)
  visit(post('{"jsonrpc":"2.0","id":1,"method":"ping"}'))
  visit({
    ...post('{"jsonrpc":"2.0","id":2,"method":"ping"}'),
    headers: { 'mcp-protocol-version': '2025-03-26', 'mcp-session-id': 'other' },
  })
  const accept = 'application/json, text/event-stream'
  expect(asked).toEqual([
    { method: 'POST', headers: { accept } },
    { method: 'GET', headers: { accept: 'text/event-stream', 'mcp-session-id': 's', 'mcp-protocol-version': '2025-06-18' } },
    { method: 'POST', headers: { accept, 'mcp-session-id': 's', 'mcp-protocol-version': '2025-06-18' } },
    { method: 'POST', headers: { accept, 'mcp-session-id': 's', 'mcp-protocol-version': '2025-03-26' } },
  ])
  stream.leave()
  await stream.served
  expect(asked.at(-1)).toMatchObject({ method: 'DELETE', headers: { 'mcp-session-id': 's' } })
})

test('after its end the door opens no stream', async () => {
  const { visit, door } = make()
  const stream = visit(GET)
  await door.close('shutting down')
  expect(stream).toMatchObject({ end: 'ended', text: expect.stringMatching(/: shutting down\n\n$/) })
  await expect(visit(GET).served).rejects.toEqual(new AppError('unavailable', 'shutting down'))
})

test('answers that are not whole yet are held to a bound only, all of a stream together', async () => {
  const held: HttpExchange[] = []
  const made = make({ maxBufferedBytes: 2500, maxMessageBytes: 2000 }, async (exchange) => {
    held.push(exchange)
    exchange.answer.head(200, { 'content-type': 'application/json' })
    exchange.answer.write(Buffer.from(`{"id":${held.length},"x":"${'x'.repeat(1000)}`))
    await new Promise((resolve) => exchange.signal.addEventListener('abort', resolve))
  })
  const stream = made.visit(GET)
  for (const id of [1, 2, 3]) made.visit(post(`{"jsonrpc":"2.0","id":${id},"method":"ping"}`))
  await expect.poll(() => messages(stream).length).toBe(1)
  expect(messages(stream)[0]).toContain('{"jsonrpc":"2.0","id":3,"error"')
  stream.leave()
  await stream.served
})

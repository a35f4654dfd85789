import { expect, test } from 'vitest'
import { type Answered, createFixture, type Fixture } from '../../test/fakes/mcp-endpoint.ts'
import { eventsOf, never, result } from '../../test/fakes/memory-upstream.ts'
import { AppError } from '../lib/errors.ts'
import { announceChanges } from './list-changes.ts'
import type { Reply, UpstreamSession } from './upstream/upstream.ts'

const CAPABILITIES = '{"tools":{},"prompts":{"listChanged":true},"completions":{}}'
const SILENT: Reply = { kind: 'refused', status: 405, bytes: Buffer.alloc(0), contentType: '' }

/** A server with these capabilities, whose sessions are otherwise as told. */
function withServer(capabilities: string, more: Partial<UpstreamSession> = {}): Fixture {
  const f = createFixture({ allow: { tools: ['echo'], resources: ['file:///a'] } })
  const open = f.upstream.open
  f.upstream.open = async (options) => {
    const session = await open.call(f.upstream, options)
    return {
      ...session,
      send: async (message, signal) =>
        message.method === 'initialize'
          ? result(message, `{"protocolVersion":"2025-11-25","capabilities":${capabilities},"serverInfo":{"name":"s","n":1.0}}`)
          : session.send(message, signal),
      ...more,
    }
  }
  return f
}

async function listen(f: Fixture, session: string): Promise<Answered> {
  const stream = f.send({ method: 'GET', headers: { 'mcp-session-id': session, accept: 'text/event-stream' } })
  await Promise.race([stream.begun, stream.ended])
  return stream
}

const told = ({ text }: Answered): string[] => [...text.matchAll(/notifications\/(\w+)\/list_changed/g)].map(([, kind]) => String(kind))

const META = '"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}'

function subscribe(f: Fixture, id: string, notifications: string): Answered {
  return f.send({
    text: `{"jsonrpc":"2.0","id":${id},"method":"subscriptions/listen","params":{"notifications":${notifications},${META}}}`,
    headers: { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'subscriptions/listen' },
  })
}

const messages = ({ text }: Answered): unknown[] => [...text.matchAll(/^data: (.+)$/gm)].map(([, data]) => JSON.parse(data ?? ''))

/** A server that acknowledges what it was told to, and then has nothing to say. */
function acknowledging(f: Fixture, honoured: string, id: string): void {
  f.upstream.script = (_, signal) => {
    const reply = eventsOf([
      `{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":${honoured},"_meta":{"io.modelcontextprotocol/subscriptionId":${id}}}}`,
    ])
    if (reply.kind !== 'events') throw new Error('no events')
    const { events } = reply
    return {
      kind: 'events',
      events: (async function* () {
        yield* events
        await never(signal)
      })(),
    }
  }
}

test.each([
  ['{"capabilities":{"tools":null,"prompts":[],"x":{}}}'],
  ['{"capabilities":{"tools":{"listChanged":true}}}'],
  ['{"capabilities":{"tools":{},"\\n":1}}'],
  ['{}'],
])('an answer in which there is nothing to announce, or nothing that could be kept as it is, stays as it is: %s', (text) => {
  const bytes = Buffer.from(`{"jsonrpc":"2.0","id":1,"result": ${text}}`)
  expect(announceChanges(bytes)).toBe(bytes)
})

test('a server that has lists is announced as one whose lists change, all else to the letter', () => {
  const bytes = Buffer.from(
    `{"jsonrpc":"2.0","id":1.0,"result":{"x":1e2,"capabilities":{"tools":{"y":-0},"resources":{"listChanged":false}}}}`,
  )
  expect(announceChanges(bytes).toString()).toBe(
    '{"jsonrpc":"2.0","id":1.0,"result":{"x":1e2,"capabilities":{"tools":{"y":-0,"listChanged":true},"resources":{"listChanged":true}}}}',
  )
})

test('clients hear of lists that their server has, once for changes that come together, and only those whom they concern', async () => {
  const f = withServer(CAPABILITIES)
  const [ana, ben] = [f.caller('ana'), f.caller('ben')]
  const streams = [await listen(f, await f.open(ana)), await listen(f, await f.open(ana)), await listenAs(f, ben)]
  for (let i = 0; i < 3; i++) f.endpoint.accessChanged(({ name }) => name === 'ana')
  f.endpoint.accessChanged(() => false)
  await expect
    .poll(() => streams.slice(0, 2).map(told))
    .toEqual([
      ['tools', 'prompts'],
      ['tools', 'prompts'],
    ])
  f.endpoint.accessChanged(() => true)
  await expect.poll(() => streams.map((stream) => told(stream).length)).toEqual([4, 4, 2])
})

async function listenAs(f: Fixture, caller: ReturnType<Fixture['caller']>): Promise<Answered> {
  const headers = { 'mcp-session-id': await f.open(caller), accept: 'text/event-stream' }
  const stream = f.send({ method: 'GET', headers }, caller)
  await stream.begun
  return stream
}

test('a server without a stream of its own has one for its lists, and none where it has no lists', async () => {
  const refusing = { listen: () => Promise.resolve(SILENT) }
  const without = withServer('{"logging":{}}', refusing)
  expect(await listen(without, await without.open())).toMatchObject({ status: 405 })
  const f = withServer(CAPABILITIES, refusing)
  const session = await f.open()
  const stream = await listen(f, session)
  f.endpoint.accessChanged(() => true)
  await expect.poll(() => told(stream)).toEqual(['tools', 'prompts'])
  await f.ask({ method: 'DELETE', headers: { 'mcp-session-id': session } })
  expect(await stream.ended).toBe('ended')
})

test('what changed while no stream was open is told on the next', async () => {
  const f = withServer(CAPABILITIES)
  const session = await f.open()
  const witness = await listen(f, await f.open())
  f.endpoint.accessChanged(() => true)
  await expect.poll(() => told(witness)).toEqual(['tools', 'prompts'])
  const stream = await listen(f, session)
  await expect.poll(() => told(stream)).toEqual(['tools', 'prompts'])
  expect(told(await listen(f, session))).toEqual([])
})

test('a subscription is told of the lists it asked for, whatever the server does', async () => {
  const f = createFixture()
  acknowledging(f, '{"resourceSubscriptions":["file:///a"],"n":1}', '"s"')
  const stream = subscribe(f, '"s"', '{"toolsListChanged":true,"promptsListChanged":false}')
  await stream.begun
  f.endpoint.accessChanged(() => true)
  await expect.poll(() => told(stream)).toEqual(['tools'])
  const mark = { _meta: { 'io.modelcontextprotocol/subscriptionId': 's' } }
  expect(messages(stream)).toEqual([
    {
      jsonrpc: '2.0',
      method: 'notifications/subscriptions/acknowledged',
      params: { ...mark, notifications: { resourceSubscriptions: ['file:///a'], n: 1, toolsListChanged: true } },
    },
    { jsonrpc: '2.0', method: 'notifications/tools/list_changed', params: mark },
  ])
})

test('an acknowledgement keeps its numbers as they were written', async () => {
  const f = createFixture()
  acknowledging(f, '{"x":1.0}', '12345678901234567890')
  const stream = subscribe(f, '12345678901234567890', '{"toolsListChanged":true}')
  await stream.begun
  expect(stream.text).toBe(
    'data: {"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":{"x":1.0,"toolsListChanged":true},"_meta":{"io.modelcontextprotocol/subscriptionId":12345678901234567890}}}\n\n',
  )
})

test('a server without subscriptions refuses those that the gateway cannot serve, and the gateway serves the others', async () => {
  const f = createFixture()
  f.upstream.script = ({ id }) => ({
    kind: 'refused',
    status: 404,
    bytes: Buffer.from(`{"jsonrpc":"2.0","id":${id},"error":{"code":-32601,"message":"unknown"}}`),
    contentType: 'application/json',
  })
  const refused = subscribe(f, '1', '{"resourceSubscriptions":[]}')
  await refused.ended
  expect(refused).toMatchObject({ status: 404, text: expect.stringContaining('-32601') })
  const stream = subscribe(f, '2', '{"toolsListChanged":true,"resourcesListChanged":true}')
  await stream.begun
  f.endpoint.accessChanged(() => true)
  await expect.poll(() => told(stream)).toEqual(['tools', 'resources'])
  expect(messages(stream)[0]).toMatchObject({ params: { notifications: { toolsListChanged: true, resourcesListChanged: true } } })
  await f.endpoint.close()
  await stream.ended
  expect(messages(stream).at(-1)).toMatchObject({ id: 2, result: { resultType: 'complete' } })
})

test('a subscription to what may no longer be read ends, in the way of the protocol', async () => {
  const f = createFixture({ allow: { tools: ['*'], resources: ['file:///a'] } })
  acknowledging(f, '{"resourceSubscriptions":["file:///a"]}', '1')
  const stream = subscribe(f, '1', '{"resourceSubscriptions":["file:///a"]}')
  await stream.begun
  f.endpoint.accessChanged(() => true)
  f.rule({ allow: { tools: ['*'], resources: ['file:///b'] } })
  f.endpoint.accessChanged(() => true)
  expect(await stream.ended).toBe('ended')
  expect(messages(stream).at(-1)).toEqual({
    jsonrpc: '2.0',
    id: 1,
    result: { resultType: 'complete', _meta: { 'io.modelcontextprotocol/subscriptionId': 1 } },
  })
  expect(f.events.at(-1)).toMatchObject({ event: 'mcp.session.request', success: true })
})

test.each([
  ['a gateway that goes down', new AppError('unavailable', 'the gateway is shutting down')],
  ['a server that was changed', new AppError('not_found', 'MCP server "tools" was changed: connect again')],
])('%s ends subscriptions with their result', async (_, why) => {
  const f = createFixture()
  acknowledging(f, '{}', '7')
  const stream = subscribe(f, '7', '{"toolsListChanged":true}')
  await stream.begun
  await f.endpoint.close(why)
  await stream.ended
  expect(messages(stream).at(-1)).toMatchObject({ id: 7, result: { resultType: 'complete' } })
  expect(told(stream)).toEqual([])
})

test('whoever is cut off is told why, in place of the result', async () => {
  const f = createFixture()
  acknowledging(f, '{}', '7')
  const stream = subscribe(f, '7', '{"toolsListChanged":true}')
  await stream.begun
  f.endpoint.cut(() => 'locked: lunch')
  await stream.ended
  expect(messages(stream).at(-1)).toMatchObject({ id: 7, error: { code: -32603, message: 'locked: lunch' } })
  expect(f.events).toContainEqual(expect.objectContaining({ success: false, error: 'locked: lunch' }))
})

test('a subscription that its client ends by going away is no failure in the audit log', async () => {
  const f = createFixture()
  acknowledging(f, '{"toolsListChanged":true}', '1')
  const stream = subscribe(f, '1', '{"toolsListChanged":true}')
  await stream.begun
  stream.leave()
  await stream.served
  const [event] = f.events.filter(({ message }) => JSON.stringify(message ?? {}).includes('subscriptions/listen'))
  expect(event).toMatchObject({ success: true })
})

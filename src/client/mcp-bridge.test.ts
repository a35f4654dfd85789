import type { ServerResponse } from 'node:http'
import { expect, test } from 'vitest'
import { AppError } from '../lib/errors.ts'
import { pause } from '../lib/pause.ts'
import { answer, HELLO, INITIALIZE, INITIALIZED, legacy, start } from './mcp-bridge-fixture.ts'

test('nothing is contacted before the first message', async () => {
  const world = await start(() => {})
  world.client.end()
  await world.done
  expect(world.seen).toEqual([])
  expect(world.assertions()).toBe(0)
})

test('a line that is no JSON is answered with a parse error and not sent', async () => {
  const world = await start(() => {})
  world.client.write('{"a":\n')
  expect(await world.line()).toMatch(/^\{"jsonrpc":"2.0","id":null,"error":\{"code":-32700,/)
  expect(world.seen).toEqual([])
})

test('a request that cannot be delivered is answered, and a notification is reported', async () => {
  const world = await start(() => {}, {
    open: () => Promise.reject(new AppError('unauthenticated', 'your session expired 12m ago: run tsh login --proxy=p:443')),
  })
  world.client.write('{"jsonrpc":"2.0","id":"x","method":"tools/list"}\n{"jsonrpc":"2.0","method":"notifications/progress"}\n')
  const refused = JSON.parse(await world.line())
  expect(refused).toMatchObject({ id: 'x', error: { code: -32603, data: 'your session expired 12m ago: run tsh login --proxy=p:443' } })
  expect(refused.error.message).toMatch(/^\[MCP_TELEPORT_LOGIN_REQUIRED\] your session expired .*needs no restart$/)
  expect(JSON.parse(await world.line())).toMatchObject({
    method: 'notifications/tsherr',
    params: { error: expect.stringMatching(/^\[MCP_TELEPORT_LOGIN_REQUIRED\]/) },
  })
})

test('a JSON-RPC refusal with HTTP 403 passes byte for byte', async () => {
  const refusal = '{"jsonrpc":"2.0","id":7, "error":{"code":-32602,"message":"denied"}}'
  const world = await start((_, response) => answer(response, 403, refusal))
  world.client.write('{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"t"}}\n')
  expect(await world.line()).toBe(refusal)
})

test('an error answer without the id gets it', async () => {
  const world = await start((_, response) => answer(response, 400, '{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"bad"}}'))
  world.client.write('{"jsonrpc":"2.0","id":1.0,"method":"x"}\n')
  expect(await world.line()).toBe('{"jsonrpc":"2.0","id":1.0,"error":{"code":-32600,"message":"bad"}}')
})

test('an HTTP error that is not JSON-RPC becomes one, with a bounded piece of it', async () => {
  const world = await start((_, response) => response.writeHead(502).end('x'.repeat(5000)))
  world.client.write('{"jsonrpc":"2.0","id":1,"method":"x"}\n')
  expect(JSON.parse(await world.line()).error.message).toBe(`[MCP_UPSTREAM_UNREACHABLE] HTTP 502: ${'x'.repeat(256)}`)
})

test('a 401 fetches one fresh assertion and tries once more', async () => {
  const world = await start((seen, response) =>
    seen.headers.authorization === 'Bearer a1'
      ? response.writeHead(401).end()
      : answer(response, 200, '{"jsonrpc":"2.0","id":1,"result":{}}'),
  )
  world.client.write('{"jsonrpc":"2.0","id":1,"method":"x"}\n')
  expect(await world.line()).toBe('{"jsonrpc":"2.0","id":1,"result":{}}')
  expect(world.seen.map((seen) => seen.headers.authorization)).toEqual(['Bearer a1', 'Bearer a2'])
})

test('a second 401 is the answer', async () => {
  const world = await start((_, response) => answer(response, 401, '{"error":{"code":"unauthenticated","message":"locked"}}'))
  world.client.write('{"jsonrpc":"2.0","id":1,"method":"x"}\n')
  expect(JSON.parse(await world.line()).error.message).toMatch(/^\[MCP_TELEPORT_LOGIN_REQUIRED\] locked/)
  expect(world.seen).toHaveLength(2)
})

test('session and revision headers follow the initialisation, and the session is ended', async () => {
  const world = await start(legacy())
  await world.initialize()
  world.client.write('{"jsonrpc":"2.0","id":1,"method":"tools/list"}\n')
  expect(await world.line()).toBe('{"jsonrpc":"2.0","id":1,"result":{"s":"s1"}}')
  world.client.end()
  await world.done
  const facts = world.seen
    .filter((seen) => seen.method !== 'GET')
    .map(({ method, headers }) => [method, headers['mcp-session-id'], headers['mcp-protocol-version']])
  expect(facts).toEqual([
    ['POST', undefined, undefined],
    ['POST', 's1', '2025-11-25'],
    ['POST', 's1', '2025-11-25'],
    ['DELETE', 's1', '2025-11-25'],
  ])
})

test('an unknown session is started again unseen, and the message sent again', async () => {
  let current = 's1'
  const world = await start(legacy({ session: () => current }))
  await world.initialize()
  current = 's2'
  world.client.write('{"jsonrpc":"2.0","id":1,"method":"tools/list"}\n')
  expect(await world.line()).toBe('{"jsonrpc":"2.0","id":1,"result":{"s":"s2"}}')
  const posts = world.seen.filter((seen) => seen.method === 'POST').map(({ body }) => body)
  const list = '{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
  expect(posts).toEqual([INITIALIZE, INITIALIZED, list, INITIALIZE, INITIALIZED, list])
})

test('another server behind the same name is told to the client', async () => {
  let current = 's1'
  const world = await start(legacy({ session: () => current, hello: () => HELLO(current) }))
  await world.initialize()
  current = 's2'
  world.client.write('{"jsonrpc":"2.0","id":1,"method":"tools/list"}\n')
  expect(JSON.parse(await world.line()).error.message).toMatch(/^\[MCP_SERVER_CHANGED\]/)
})

test('without auto-reconnect a lost session ends the bridge', async () => {
  let current = 's1'
  const world = await start(legacy({ session: () => current }), { autoReconnect: false })
  await world.initialize()
  current = 's2'
  world.client.write('{"jsonrpc":"2.0","id":1,"method":"tools/list"}\n')
  expect(JSON.parse(await world.line()).error.message).toMatch(/^\[MCP_SESSION_EXPIRED\]/)
  await expect(world.done).rejects.toThrow('the MCP session has ended')
})

test('an event stream becomes lines; line ends inside become spaces', async () => {
  const world = await start((_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.end(
      ': hi\n\ndata: {"jsonrpc":"2.0",\ndata: "method":"notifications/progress"}\n\ndata: no json\n\ndata: {"jsonrpc":"2.0","id":1,"result":1.0}\n\n',
    )
  })
  world.client.write('{"jsonrpc":"2.0","id":1,"method":"x"}\n')
  expect(await world.line()).toBe('{"jsonrpc":"2.0", "method":"notifications/progress"}')
  expect(await world.line()).toBe('{"jsonrpc":"2.0","id":1,"result":1.0}')
})

test('a stream that ends early is taken up again by GET', async () => {
  const world = await start((seen, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    if (seen.method === 'POST') response.end('id: e1\nretry: 5\ndata:\n\n')
    else response.end('id: e2\ndata: {"jsonrpc":"2.0","id":1,"result":{}}\n\n')
  })
  world.client.write('{"jsonrpc":"2.0","id":1,"method":"x"}\n')
  expect(await world.line()).toBe('{"jsonrpc":"2.0","id":1,"result":{}}')
  expect(world.seen.map(({ method, headers }) => [method, headers['last-event-id']])).toEqual([
    ['POST', undefined],
    ['GET', 'e1'],
  ])
})

test('a stream that ends for good without the answer is an error', async () => {
  const world = await start((_, response) => response.writeHead(200, { 'content-type': 'text/event-stream' }).end(': nothing\n\n'))
  world.client.write('{"jsonrpc":"2.0","id":1,"method":"x"}\n')
  expect(JSON.parse(await world.line()).error.message).toMatch(/^\[MCP_UPSTREAM_UNREACHABLE\] the connection ended/)
})

test('messages of 2026-07-28 carry their headers and no session', async () => {
  const world = await start((_, response) => answer(response, 200, '{"jsonrpc":"2.0","id":1,"result":{}}'))
  world.client.write(
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ä","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}\n',
  )
  await world.line()
  expect(world.seen[0]?.headers).toMatchObject({
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': 'tools/call',
    'mcp-name': '=?base64?w6Q=?=',
  })
  expect(world.seen[0]?.headers['mcp-session-id']).toBeUndefined()
})

test('a cancelled request of 2026-07-28 has its stream closed and the notification is not sent', async () => {
  const closed = Promise.withResolvers<void>()
  const world = await start((_, response) => void response.on('close', () => closed.resolve()))
  world.client.write(
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}\n',
  )
  world.client.write('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}\n')
  await closed.promise
  world.client.end()
  await world.done
  expect(world.seen).toHaveLength(1)
  expect(world.written()).toEqual([])
})

test('the end of input ends a subscription of 2026-07-28 at once, though it has no answer, and lets a call finish', async () => {
  const closed = Promise.withResolvers<void>()
  const world = await start(async (seen, response) => {
    if (seen.headers['mcp-method'] === 'subscriptions/listen') {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: {"jsonrpc":"2.0","method":"n"}\n\n')
      response.once('close', () => closed.resolve())
    } else {
      await closed.promise
      answer(response, 200, '{"jsonrpc":"2.0","id":2,"result":{}}')
    }
  })
  const meta = '"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}'
  world.client.write(`{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{},${meta}}}\n`)
  expect(await world.line()).toBe('{"jsonrpc":"2.0","method":"n"}')
  world.client.write(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"t",${meta}}}\n`)
  world.client.end()
  expect(await world.line()).toBe('{"jsonrpc":"2.0","id":2,"result":{}}')
  await world.done
})

test('an interruption ends the session at once, though a call has no answer', async () => {
  const interrupt = new AbortController()
  const serve = legacy()
  const ended = Promise.withResolvers<void>()
  const options = { wait: (_ms: number, signal: AbortSignal) => pause(3_600_000, signal), interrupted: interrupt.signal }
  const world = await start((seen, response) => {
    if (seen.body.includes('tools/call')) {
      world.client.end()
      interrupt.abort()
      return
    }
    if (seen.method === 'DELETE') ended.resolve()
    serve(seen, response)
  }, options)
  await world.initialize()
  world.client.write('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}\n')
  await ended.promise
  await world.done
  expect(world.seen.at(-1)).toMatchObject({ method: 'DELETE', headers: { 'mcp-session-id': 's1' } })
})

test('a subscription of 2026-07-28 waits for a proxy that is away, and holds up nothing', async () => {
  let isAway = true
  const world = await start((seen, response) => {
    if (seen.headers['mcp-method'] !== 'subscriptions/listen') return answer(response, 200, '{"jsonrpc":"2.0","id":2,"result":{}}')
    if (isAway) return void response.destroy()
    answer(response, 200, '{"jsonrpc":"2.0","id":1,"result":{}}')
  })
  const meta = '"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}'
  world.client.write(`{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{},${meta}}}\n`)
  world.client.write(`{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{${meta}}}\n`)
  expect(await world.line()).toBe('{"jsonrpc":"2.0","id":2,"result":{}}')
  isAway = false
  expect(await world.line()).toBe('{"jsonrpc":"2.0","id":1,"result":{}}')
})

test('server messages that belong to no request come through the GET stream', async () => {
  const world = await start(legacy({ listen: 'data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n\n' }))
  await world.initialize()
  expect(await world.line()).toBe('{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}')
})

test('requests run side by side; their answers come as they are ready', async () => {
  const held: ServerResponse[] = []
  const world = await start((seen, response) => {
    if (seen.body.includes('"id":1')) return void held.push(response)
    answer(response, 200, '{"jsonrpc":"2.0","id":2,"result":{}}')
    for (const each of held) answer(each, 200, '{"jsonrpc":"2.0","id":1,"result":{}}')
  })
  world.client.write('{"jsonrpc":"2.0","id":1,"method":"x"}\n{"jsonrpc":"2.0","id":2,"method":"x"}\n')
  expect([JSON.parse(await world.line()).id, JSON.parse(await world.line()).id].toSorted()).toEqual([1, 2])
})

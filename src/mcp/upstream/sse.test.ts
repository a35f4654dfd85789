import { afterEach, describe, expect, test } from 'vitest'
import { call, eventsOf, faultOf, messageText, never, notification, readData, request, toolText } from '../../../test/fakes/outgoing.ts'
import { startSseServer } from '../../../test/fakes/sse-server.ts'
import type { SseServer } from '../../../test/fakes/sse-server.ts'
import { openAs } from '../../../test/fakes/stdio-app.ts'
import { silentLogger } from '../../lib/log.ts'
import { appSchema } from '../../resources/app.ts'
import { createSseUpstream } from './sse.ts'
import type { SseLimits } from './sse-limits.ts'
import type { Upstream, UpstreamSession } from './upstream.ts'

const opened: (Upstream | SseServer)[] = []
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close()
})

function upstreamTo(url: string, limits: Partial<SseLimits> = {}): Upstream {
  const app = appSchema.parse({ kind: 'app', version: 'v3', metadata: { name: 'old' }, spec: { uri: `mcp+sse+${url}` } })
  const upstream = createSseUpstream(app, { now: Date.now, log: silentLogger, limits })
  opened.push(upstream)
  return upstream
}

async function start(): Promise<SseServer> {
  const server = await startSseServer()
  opened.push(server)
  return server
}

async function connect(headers: Record<string, string> = {}): Promise<{ server: SseServer; session: UpstreamSession }> {
  const server = await start()
  return { server, session: await upstreamTo(server.url).open(openAs('legacy', headers)) }
}

const posts = ({ seen }: SseServer): string[] => seen.filter(({ method }) => method === 'POST').map(({ body }) => body)

describe('an endpoint that is not followed', () => {
  test.each([
    ['of another origin', 'event: endpoint\ndata: http://127.0.0.1:1/message\n\n', 'has another origin (http://127.0.0.1:1)'],
    ['of another scheme', 'event: endpoint\ndata: https:/message\n\n', 'no URL|another origin'],
    ['with a name in it', 'event: endpoint\ndata: //evil.example/message\n\n', 'has another origin (http://evil.example)'],
    ['that comes second', 'event: message\ndata: {}\n\nevent: endpoint\ndata: /m\n\n', 'the first event of its stream is no endpoint'],
  ])('%s', async (_, greeting, words) => {
    const server = await start()
    server.greeting = greeting
    const fault = await faultOf(upstreamTo(server.url).open(openAs('legacy')))
    expect(fault).toMatchObject({ code: 'unavailable', origin: 'upstream' })
    expect(words.split('|').some((word) => fault.message.includes(word))).toBe(true)
    await server.left
  })

  test('with credentials', async () => {
    const server = await start()
    server.greeting = `event: endpoint\ndata: ${server.url.replace('//', '//a:b@')}\n\n`
    expect((await faultOf(upstreamTo(server.url).open(openAs('legacy')))).message).toMatch(/contains credentials$/)
  })
})

test('a stream that names no endpoint in time is given up', async () => {
  const server = await start()
  server.greeting = undefined
  const fault = await faultOf(upstreamTo(server.url, { endpointTimeoutMs: 50 }).open(openAs('legacy')))
  expect(fault).toMatchObject({ code: 'deadline_exceeded', message: 'MCP server "old" did not name its endpoint within 50 ms' })
  await server.left
})

test('a modern conversation is not offered, nor one over a header of the connection', async () => {
  const upstream = upstreamTo((await start()).url)
  expect(await faultOf(upstream.open(openAs('modern')))).toMatchObject({ code: 'unimplemented' })
  expect(await faultOf(upstream.open(openAs('legacy', { Connection: 'close' })))).toMatchObject({ code: 'failed_precondition' })
})

test('a POST that is refused fails its own request only', async () => {
  const { server, session } = await connect()
  server.status = 413
  expect(await session.send(call('1', 'a'), never)).toMatchObject({ kind: 'refused', status: 413 })
  server.status = 202
  expect(toolText(await session.send(call('1', 'a'), never))).toBe('said')
})

test('the end of the stream ends the session and what is under way', async () => {
  const { server, session } = await connect()
  server.script = () => undefined
  const pending = faultOf(session.send(call('1', 'a'), never))
  const listened = readData(eventsOf(await session.listen({}, never)))
  listened.catch(() => undefined)
  await expect.poll(() => posts(server).length).toBe(1)
  for (const stream of server.streams) stream.end()
  expect(await session.ended).toBe('MCP server "old" ended its event stream')
  expect(await pending).toEqual({ code: 'unavailable', origin: 'upstream', message: 'MCP server "old" ended its event stream' })
  await expect(listened).rejects.toThrow('ended its event stream')
  expect(await faultOf(session.send(call('2', 'a'), never))).toMatchObject({ code: 'unavailable' })
})

test('requests go to the endpoint with the headers that were set, and are answered on the stream', async () => {
  const { server, session } = await connect({ 'X-Team': 'red', Accept: 'text/x' })
  expect(session.externalId).toBe('one')
  const initialize = request('0', 'initialize', {}, { headers: { 'mcp-protocol-version': '2024-11-05', cookie: 'no' } })
  expect(messageText(await session.send(initialize, never))).toContain('"name":"old"')
  expect(await session.send(notification('notifications/initialized'), never)).toEqual({ kind: 'accepted' })
  expect(server.seen.map(({ method, url, headers }) => [method, url, headers['x-team'], headers['accept'], headers['cookie']])).toEqual([
    ['GET', '/sse?x=1', 'red', 'text/x', undefined],
    ['POST', '/message?sessionId=one', 'red', 'text/x', undefined],
    ['POST', '/message?sessionId=one', 'red', 'text/x', undefined],
  ])
  expect(server.seen[1]).toMatchObject({ headers: { 'mcp-protocol-version': '2024-11-05' }, body: initialize.bytes.toString() })
})

test('answers find their requests by id, progress by its token, everything else the listener', async () => {
  const { server, session } = await connect()
  const listening = readData(eventsOf(await session.listen({}, never)), 1)
  server.script = () => undefined
  const first = session.send(call('1', 'a', {}, { progressToken: '"t"' }), never)
  const second = session.send(call('"1"', 'a'), never)
  await expect.poll(() => posts(server).length).toBe(2)
  server.say('{"jsonrpc":"2.0","method":"notifications/message","params":{}}')
  server.say('{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":1}}')
  server.say('{"jsonrpc":"2.0","id":"1","result":{"of":"second"}}')
  server.say('{"jsonrpc":"2.0","id":1,"result":{"of":"first"}}')
  server.say('{"jsonrpc":"2.0","id":7,"result":{"of":"nobody"}}')
  expect(messageText(await second)).toBe('{"jsonrpc":"2.0","id":"1","result":{"of":"second"}}')
  expect(await readData(eventsOf(await first))).toEqual([
    '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":1}}',
    '{"jsonrpc":"2.0","id":1,"result":{"of":"first"}}',
  ])
  expect(await listening).toEqual(['{"jsonrpc":"2.0","method":"notifications/message","params":{}}'])
})

test('who gives up tells the server, after the request', async () => {
  const { server, session } = await connect()
  server.script = () => undefined
  const leaving = new AbortController()
  const pending = faultOf(session.send(call('5', 'a'), leaving.signal))
  leaving.abort()
  expect(await pending).toMatchObject({ code: 'cancelled' })
  await expect.poll(() => posts(server).length).toBe(2)
  expect(posts(server)[1]).toBe(
    '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5,"reason":"cancelled by the client"}}',
  )
})

test('closing breaks the stream off and is no end by itself', async () => {
  const { server, session } = await connect()
  server.script = () => undefined
  const pending = faultOf(session.send(call('1', 'a'), never))
  await session.close()
  expect(await pending).toMatchObject({ code: 'cancelled' })
  await server.left
  expect(await Promise.race([session.ended, Promise.resolve('not ended')])).toBe('not ended')
})

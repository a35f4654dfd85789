import { afterEach, describe, expect, test } from 'vitest'
import { startEchoHttp } from '../../../test/fakes/echo-http.ts'
import type { EchoHttp, EchoHttpOptions } from '../../../test/fakes/echo-http.ts'
import {
  call,
  eventsOf,
  faultOf,
  messageText,
  never,
  notification,
  readData,
  request,
  textOfResult,
  toolText,
} from '../../../test/fakes/outgoing.ts'
import { openAs } from '../../../test/fakes/stdio-app.ts'
import { silentLogger } from '../../lib/log.ts'
import { appSchema } from '../../resources/app.ts'
import { createHttpUpstream } from './http.ts'
import type { HttpLimits } from './http-limits.ts'
import type { Reply, Upstream, UpstreamSession } from './upstream.ts'

const opened: (Upstream | EchoHttp)[] = []
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close()
})

function upstreamTo(url: string, limits: Partial<HttpLimits> = {}, spec: object = {}, now = Date.now): Upstream {
  const app = appSchema.parse({ kind: 'app', version: 'v3', metadata: { name: 'web' }, spec: { uri: `mcp+${url}`, ...spec } })
  const upstream = createHttpUpstream(app, { now, log: silentLogger, limits })
  opened.push(upstream)
  return upstream
}

async function server(options: EchoHttpOptions = {}): Promise<EchoHttp> {
  const echo = await startEchoHttp(options)
  opened.push(echo)
  return echo
}

async function connect(
  limits: Partial<HttpLimits> = {},
  era: 'legacy' | 'modern' = 'legacy',
): Promise<{ echo: EchoHttp; session: UpstreamSession }> {
  const echo = await server({ sessionId: 'session-1' })
  return { echo, session: await upstreamTo(echo.url, limits).open(openAs(era)) }
}

async function lengthOf(reply: Reply): Promise<number> {
  if (reply.kind !== 'stream') throw new Error(`expected a stream, got ${reply.kind}`)
  let length = 0
  for await (const chunk of reply.chunks) length += chunk.length
  return length
}

describe('a server that cannot be reached', () => {
  test('connection refused', async () => {
    const echo = await startEchoHttp()
    await echo.close()
    const session = await upstreamTo(echo.url).open(openAs('legacy'))
    expect(await faultOf(session.send(call('1', 'echo'), never))).toEqual({
      code: 'unavailable',
      origin: 'upstream_unreachable',
      message: 'cannot reach MCP server "web": connection refused',
    })
  })

  test('an unknown host', async () => {
    const session = await upstreamTo('http://no-such-host.invalid/mcp').open(openAs('legacy'))
    expect(await faultOf(session.send(call('1', 'echo'), never))).toMatchObject({ code: 'unavailable', origin: 'upstream_unreachable' })
  })

  test('a connection that breaks before or within the answer', async () => {
    const { session } = await connect()
    for (const tool of ['reset', 'reset-within'])
      expect(await faultOf(session.send(call('1', tool), never))).toMatchObject({ code: 'unavailable', origin: 'upstream_unreachable' })
  })

  test('no answer in time', async () => {
    const { session } = await connect({ headersTimeoutMs: 100 })
    expect(await faultOf(session.send(call('1', 'hang'), never))).toMatchObject({
      code: 'deadline_exceeded',
      origin: 'upstream_unreachable',
    })
  })

  test('an answer that stops in the middle', async () => {
    const { session } = await connect({ bodyTimeoutMs: 50 })
    expect((await faultOf(session.send(call('1', 'stall'), never))).message).toBe('MCP server "web" stopped in the middle of an answer')
  })

  test('more requests than connections', async () => {
    const { session } = await connect({ maxConnections: 1 })
    const first = faultOf(session.send(call('1', 'hang'), never))
    expect((await faultOf(session.send(call('2', 'echo'), never))).code).toBe('resource_exhausted')
    await session.close()
    expect((await first).code).toBe('cancelled')
  })
})

describe('a server that does not keep to the protocol', () => {
  test.each([
    ['html', 'MCP server "web" does not follow the protocol: its answer is of type "text/html"'],
    ['zipped', 'MCP server "web" does not follow the protocol: it encodes its answers although nobody asked for that'],
  ])('%s', async (tool, message) => {
    const { session } = await connect()
    expect(await faultOf(session.send(call('1', tool), never))).toEqual({ code: 'unavailable', origin: 'upstream', message })
  })

  test('a session id that is too long or not ASCII', async () => {
    for (const sessionId of ['x'.repeat(1025), 'a b', 'ä']) {
      const echo = await server({ sessionId })
      const session = await upstreamTo(echo.url).open(openAs('legacy'))
      expect(await faultOf(session.send(request('1', 'initialize'), never))).toMatchObject({ code: 'unavailable', origin: 'upstream' })
      expect(session.externalId).toBe(undefined)
    }
  })

  test('a whole answer over the limit', async () => {
    const { session } = await connect()
    const large = call('1', 'big', { bytes: 17 * 1024 * 1024 }, { whole: true })
    expect(await faultOf(session.send(large, never))).toMatchObject({ code: 'unavailable', origin: 'upstream' })
  })

  test('redirects are refused without their query', async () => {
    const { session } = await connect()
    const reply = await session.send(call('1', 'redirect'), never)
    expect(reply).toMatchObject({ kind: 'refused', status: 307, contentType: 'text/plain' })
    expect(reply.kind === 'refused' && reply.bytes.toString()).toBe(
      'MCP server "web" redirects to http://elsewhere.example/mcp (HTTP 307); redirects are not followed: set spec.uri to the final address',
    )
  })

  test('an HTTP error is passed on, its body cut at 64 KiB', async () => {
    const { session } = await connect()
    const small = await session.send(call('1', 'status', { status: 503, bytes: 3 }), never)
    expect(small).toEqual({ kind: 'refused', status: 503, bytes: Buffer.from('eee'), contentType: 'text/plain' })
    const large = await session.send(call('1', 'status', { status: 400, bytes: 1_000_000 }), never)
    expect(large.kind === 'refused' && large.bytes.length).toBe(65_536)
  })
})

describe('headers', () => {
  test('what frames a message cannot be rewritten', async () => {
    const echo = await server()
    for (const name of ['Transfer-Encoding', 'content-length', 'Connection'])
      expect((await faultOf(upstreamTo(echo.url).open(openAs('legacy', { [name]: '1' })))).code).toBe('failed_precondition')
  })

  test('of the client only protocol headers go on; ours win', async () => {
    const echo = await server()
    const session = await upstreamTo(echo.url).open(openAs('modern', { Authorization: 'Bearer upstream', 'Mcp-Param-Region': 'ours' }))
    const headers = {
      accept: 'text/html',
      authorization: 'Bearer client',
      cookie: 'c=1',
      host: 'evil',
      origin: 'http://evil',
      'mcp-session-id': 'theirs',
      'last-event-id': '9',
      'x-forwarded-for': '1.2.3.4',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'tools/call',
      'mcp-name': 'echo',
      'mcp-param-region': 'client',
      'mcp-param-b': 'b',
    }
    await session.send(call('1', 'echo', {}, { headers }), never)
    const { connection: _, host, ...sent } = echo.seen[0]?.headers ?? {}
    expect(host).toBe(new URL(echo.url).host)
    expect(sent).toEqual({
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'content-length': '86',
      authorization: 'Bearer upstream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'tools/call',
      'mcp-name': 'echo',
      'mcp-param-region': 'ours',
      'mcp-param-b': 'b',
    })
    expect(echo.seen[0]?.url).toBe('/mcp?x=1')
  })

  test('a header that would end the line is refused', async () => {
    const { session } = await connect()
    expect((await faultOf(session.send(call('1', 'echo', {}, { headers: { 'mcp-name': 'a\r\nx: y' } }), never))).code).toBe(
      'invalid_argument',
    )
  })
})

describe('the session of the server', () => {
  test('its id goes with every request and is deleted at the end, once', async () => {
    const { echo, session } = await connect()
    await session.send(request('1', 'initialize'), never)
    expect(session.externalId).toBe('session-1')
    await session.send(call('2', 'echo', {}, { headers: { 'mcp-protocol-version': '2025-11-25' } }), never)
    await session.close()
    await session.close()
    expect(echo.seen.map(({ method, headers }) => [method, headers['mcp-session-id'], headers['mcp-protocol-version']])).toEqual([
      ['POST', undefined, undefined],
      ['POST', 'session-1', '2025-11-25'],
      ['DELETE', 'session-1', '2025-11-25'],
    ])
    expect((await faultOf(session.send(call('3', 'echo'), never))).code).toBe('cancelled')
  })

  test('a modern conversation has none', async () => {
    const { echo, session } = await connect({}, 'modern')
    await session.send(request('1', 'initialize'), never)
    await session.close()
    expect(session.externalId).toBe(undefined)
    expect(echo.seen.length).toBe(1)
  })

  test('404 with a session id ends the conversation', async () => {
    const { session } = await connect()
    await session.send(request('1', 'initialize'), never)
    expect(await session.send(call('2', 'status', { status: 404 }), never)).toMatchObject({ kind: 'refused', status: 404 })
    expect(await session.ended).toBe('MCP server "web" does not know the session any more')
  })

  test('closing does not wait for a server that does not answer', async () => {
    const echo = await server({ sessionId: 's' })
    const session = await upstreamTo(echo.url, { closeTimeoutMs: 20 }).open(openAs('legacy'))
    await session.send(request('1', 'initialize'), never)
    await echo.close()
    expect(await session.close()).toBe(undefined)
  })
})

describe('answers', () => {
  test('small ones are one message', async () => {
    const { session } = await connect()
    expect(messageText(await session.send(call('"x"', 'echo', { text: 'hi' }), never))).toBe(
      '{"jsonrpc":"2.0","id":"x","result":{"content":[{"type":"text","text":"hi"}]}}',
    )
  })

  test('large ones are a stream, with or without a length', async () => {
    const { session } = await connect()
    for (const chunked of [false, true])
      expect(await lengthOf(await session.send(call('1', 'big', { bytes: 3_000_000, chunked }), never))).toBe(3_000_073)
  })

  test('large ones that have to be read are one message', async () => {
    const { session } = await connect()
    expect(toolText(await session.send(call('1', 'big', { bytes: 3_000_000, chunked: true }, { whole: true }), never)).length).toBe(
      3_000_000,
    )
  })

  test('notifications and empty answers are accepted', async () => {
    const { session } = await connect()
    expect(await session.send(notification('notifications/initialized'), never)).toEqual({ kind: 'accepted' })
    expect(await session.send(call('1', 'empty'), never)).toEqual({ kind: 'accepted' })
  })

  test('event streams keep every byte', async () => {
    const { session } = await connect()
    const raw: string[] = []
    const data: string[] = []
    for await (const event of eventsOf(await session.send(call('1', 'stream'), never))) {
      raw.push(event.raw.toString())
      data.push(event.data.toString())
    }
    expect(raw.slice(0, 3)).toEqual([
      ': hello\n\n',
      'id: 1\nretry: 500\ndata:\n\n',
      'event: message\ndata: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}}\n\n',
    ])
    expect(textOfResult(data[3] ?? '')).toBe('streamed')
  })

  test('an event stream that nobody reads stops at the server, and goes on later', async () => {
    const { session } = await connect()
    const events = eventsOf(await session.send(call('1', 'flood', { count: 20_000 }), never))
    const iterator = events[Symbol.asyncIterator]()
    await iterator.next()
    // Other requests pass meanwhile.
    expect(toolText(await session.send(call('2', 'echo', { text: 'beside' }), never))).toBe('beside')
    let count = 1
    while (!(await iterator.next()).done) count++
    expect(count).toBe(20_000)
  })
})

describe('cancellation', () => {
  test('a request under way is broken off and, in a legacy session, cancelled by name', async () => {
    const { echo, session } = await connect()
    const abort = new AbortController()
    const events = eventsOf(await session.send(call('"x"', 'endless'), abort.signal))
    await readData(events, 1)
    const rest = faultOf(readData(events))
    abort.abort()
    expect((await rest).code).toBe('cancelled')
    await echo.aborted('POST')
    await session.close()
    expect(echo.seen.at(-1)?.body).toBe(
      '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"x","reason":"cancelled by the client"}}',
    )
  })

  test('a modern one is only broken off', async () => {
    const { echo, session } = await connect({}, 'modern')
    const abort = new AbortController()
    const hanging = session.send(call('1', 'endless'), abort.signal)
    await hanging
    abort.abort()
    await echo.aborted('POST')
    await session.close()
    expect(echo.seen.length).toBe(1)
  })

  test('one that has no answer yet rejects at once', async () => {
    const { session } = await connect()
    const abort = new AbortController()
    const hanging = faultOf(session.send(call('1', 'hang'), abort.signal))
    abort.abort()
    expect((await hanging).code).toBe('cancelled')
    expect((await faultOf(session.send(call('2', 'echo'), abort.signal))).code).toBe('cancelled')
  })

  test('a reader that stops early closes the stream', async () => {
    const { echo, session } = await connect()
    for await (const _ of eventsOf(await session.send(call('1', 'endless'), never))) break
    expect(await echo.aborted('POST')).toBe(undefined)
  })
})

describe('listen', () => {
  test('opens the GET stream where the client left it', async () => {
    const { echo, session } = await connect()
    await session.send(request('1', 'initialize'), never)
    const headers = { 'last-event-id': '7', 'mcp-protocol-version': '2025-11-25', cookie: 'c' }
    const events = eventsOf(await session.listen(headers, never))[Symbol.asyncIterator]()
    expect((await events.next()).value?.isComment).toBe(true)
    echo.emit('{"n":1}')
    expect((await events.next()).value?.data.toString()).toBe('{"n":1}')
    expect(echo.seen[1]).toMatchObject({
      method: 'GET',
      headers: { accept: 'text/event-stream', 'last-event-id': '7', 'mcp-session-id': 'session-1', 'mcp-protocol-version': '2025-11-25' },
    })
    expect(echo.seen[1]?.headers.cookie).toBe(undefined)
    const rest = faultOf(events.next())
    await session.close()
    expect((await rest).code).toBe('cancelled')
  })
})

import { once } from 'node:events'
import type { AddressInfo, Server, Socket } from 'node:net'
import { connect, createServer } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { BodyRoom } from '../../lib/body-room.ts'
import { createFeed, type FakeFeed } from '../../../test/fakes/feed.ts'
import { askHttp, askSocket, openHttp } from '../../../test/fakes/raw-http.ts'
import type { ApiClient } from '../../client/call.ts'
import type { HttpExchange } from '../../lib/http-exchange.ts'
import { AppError } from '../../lib/errors.ts'
import { silentLogger } from '../../lib/log.ts'
import type { Exchange } from '../../tunnel/exchange.ts'
import { Assertions } from './assertions.ts'
import { createProofs } from './dpop.fixture.ts'
import { ForeignHeaders } from './foreign-headers.ts'
import { createProxyServer } from './server.ts'

let now: number
let feed: FakeFeed
let assertions: Assertions
/** What reached the agent. */
let exchanges: Exchange[]
let onExchange: (exchange: Exchange) => void
/** Exchanges of tokens for assertions, as `token server`. */
let issued: string[]
let issue: (input: unknown, token: string) => Promise<unknown>
/** Settles when somebody waits for an assertion. */
let asked: PromiseWithResolvers<void>
let server: Server
/** Of the server, in the order of their connections. */
let sockets: Socket[]
let port: number

// Most requests of MCP clients are answered by our own server; http.Server has the rest, and has to do the same with all.
describe.each(['our own server', 'http.Server'])('%s', (kind) => {
  beforeEach(async () => {
    now = Date.parse('2027-01-01T00:00:00Z')
    feed = createFeed()
    exchanges = []
    issued = []
    asked = Promise.withResolvers()
    sockets = []
    onExchange = (exchange) => say(exchange, '{}')
    issue = async () => ({ assertion: `a.b.${issued.length}`, expires: new Date(now + 300_000).toISOString() })
    /* The one route that is called. */
    const clientFor = (token: string) =>
      (async (_: unknown, input: { server: string }) => {
        issued.push(`${token} ${input.server}`)
        asked.resolve()
        return issue(input, token)
      }) as ApiClient
    assertions = new Assertions({ clientFor, feed, now: () => now })
    const proxy = createProxyServer({
      assertions,
      foreign: new ForeignHeaders(feed),
      target: (exchange) => {
        exchanges.push(exchange)
        onExchange(exchange)
      },
      maxRequestBytes: 1000,
      room: new BodyRoom(1_000_000),
      proofs: createProofs(() => now),
      aggregate: {
        serve: async (_, response, set) => void response.writeHead(200).end(`aggregate ${set}`),
        routeOf: (head, _socket, set) => ({
          isCurrent: () => true,
          headers: head.headers,
          maxBodyBytes: 1000,
          admit: () => undefined,
          sender: () => 'user:ana',
          serve: (exchange) => say(exchange, `aggregate ${set}`),
          refuse: () => undefined,
        }),
      },
      auth: (_, response) => void response.writeHead(200).end('auth'),
      publicAddresses: ['mcp.example.com:443'],
      isReady: () => false,
      monotonic: () => 0,
      now: () => now,
      log: silentLogger,
    })
    server = createServer({ allowHalfOpen: true }, (socket) => {
      sockets.push(socket)
      if (kind === 'http.Server') proxy.fallback.emit('connection', socket)
      else proxy.accept(socket)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    // A listening TCP server has an address with a port.
    port = (server.address() as AddressInfo).port
  })

  afterEach(async () => {
    assertions.close()
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
  })

  const url = (path = '/mcp/apps/tools'): URL => new URL(`http://127.0.0.1:${port}${path}`)
  const HEADERS = { authorization: 'Bearer spt_x', 'content-type': 'application/json' }
  const say = ({ answer }: HttpExchange, text: string): void => {
    answer.head(200, {})
    answer.end(Buffer.from(text))
  }
  /** When the server knows. */
  const left = async (): Promise<void> => {
    const [socket] = sockets
    // `once` would take an error for a failure.
    if (socket && !socket.closed) await new Promise((resolve) => socket.on('close', resolve))
  }
  const raw = (head: string, body = ''): string => `${head}\r\n\r\n${body}`

  test.each([
    ['another Host', { host: 'evil.example' }, 403],
    ['a Host with a path', { host: 'localhost/x' }, 403],
    ['a rebound name', { host: '127.0.0.1.evil.example' }, 403],
    ['another Origin', { origin: 'https://evil.example' }, 403],
    ['an Origin of null', { origin: 'null' }, 403],
    ['two Origins', { origin: ['http://localhost', 'https://evil.example'] }, 403],
    ['no credential', { authorization: [] }, 401],
    ['another scheme', { authorization: 'Basic dTpw' }, 401],
    ['no token', { authorization: 'Bearer' }, 401],
    ['two words', { authorization: 'Bearer a b' }, 401],
    ['a list', { authorization: 'Bearer a, Bearer b' }, 401],
    ['a token of odd letters', { authorization: 'Bearer a"b' }, 401],
    ['another type', { 'content-type': 'text/plain' }, 415],
    ['a type that begins alike', { 'content-type': 'application/jsonp' }, 415],
    ['a form, as a page may send', { 'content-type': 'application/x-www-form-urlencoded' }, 415],
    ['no type', { 'content-type': [] }, 415],
  ])('a POST with %s gets no further', async (_, headers, status) => {
    const all = Object.fromEntries(
      Object.entries({ ...HEADERS, ...headers }).filter(([, value]) => typeof value === 'string' || value.length > 0),
    )
    const answer = await askHttp(url(), { headers: all, body: '{}' })
    expect(answer.status).toBe(status)
    expect(exchanges).toEqual([])
    if (status === 401) expect(answer.headers['www-authenticate']).toMatch(/^Bearer /)
  })

  test.each([
    ['two credentials', 'Authorization: Bearer a\r\nAuthorization: Bearer b', 401],
    ['two Hosts', 'Host: evil.example\r\nAuthorization: Bearer a', 400],
    ['two lengths', 'Authorization: Bearer a\r\nContent-Length: 5', 400],
    ['a length and chunks', 'Authorization: Bearer a\r\nTransfer-Encoding: chunked', 400],
    ['a space in a header name', 'Authorization : Bearer a', 400],
    ['a bare line feed', 'X: a\nAuthorization: Bearer a', 400],
  ])('a request with %s is refused', async (_, headers, status) => {
    const head = `POST /mcp/apps/tools HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n${headers}`
    expect(await askSocket(port, raw(head, '{}'), { keepOpen: true, until: /^HTTP\/1\.1 \d+/ })).toMatch(
      new RegExp(`^HTTP/1\\.1 ${status} `),
    )
    expect(exchanges).toEqual([])
  })

  test.each([
    '/mcp//',
    '/mcpx',
    '/mcp/sets',
    '/mcp/sets/',
    '/mcp/sets/a/b',
    '/mcp/sets/..',
    '/mcp/sets/%2e%2e',
    '/mcp/sets/%zz',
    '/mcp/sets/a%2fb',
    '/mcp/apps',
    '/mcp/apps/',
    '/mcp/apps//',
    '/mcp/apps/a/b',
    '/mcp/apps/../x',
    '/MCP/apps/a',
    '//mcp/apps/a',
    '/mcp/apps/%',
    '/mcp/apps/%zz',
    '/mcp/apps/%ff',
    '/mcp/apps/.',
    '/mcp/apps/..',
    '/mcp/apps/%2e%2e',
    '/mcp/apps/%00',
    '/mcp/apps/a%2fb',
    '/mcp/apps/a%5cb',
    '/mcp/apps/a%0d%0ab',
    '/mcp/apps/%20',
    `/mcp/apps/${'x'.repeat(256)}`,
    'http://localhost/mcp/apps/tools',
    '/v2/x',
  ])('nothing is served at %s', async (path) => {
    const answer = await askSocket(port, raw(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a\r\nConnection: close`), {
      keepOpen: true,
    })
    expect(answer).toMatch(/^HTTP\/1\.1 404 /)
    expect(issued).toEqual([])
    expect(exchanges).toEqual([])
  })

  test.each(['/', '/web', '/web/?next=//evil.example'])('a person who opens %s is shown the way', async (path) => {
    const answer = await askSocket(port, raw(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close`), { keepOpen: true })
    expect(answer).toMatch(/^HTTP\/1\.1 302 /)
    expect(answer).toMatch(/\r\nlocation: \/web\/account\r\n/i)
  })

  test('all servers have one path, and every set its own', async () => {
    expect((await askHttp(url('/mcp'), { method: 'GET', headers: { host: 'evil.example' } })).status).toBe(403)
    expect((await askHttp(url('/mcp'), { method: 'GET', headers: { origin: 'https://evil.example' } })).status).toBe(403)
    for (const path of ['/mcp', '/mcp/', '/mcp?x=1']) expect((await askHttp(url(path), { method: 'GET' })).text).toBe('aggregate undefined')
    for (const path of ['/mcp/sets/dev', '/mcp/sets/d%65v/'])
      expect((await askHttp(url(path), { method: 'GET' })).text).toBe('aggregate dev')
  })

  test('a name may be written with escapes', async () => {
    await askHttp(url('/mcp/apps/t%6fols/?x=1'), { method: 'GET', headers: HEADERS })
    await askHttp(url('/mcp/apps/d%C3%A9mo'), { method: 'GET', headers: HEADERS })
    expect(exchanges.map((exchange) => exchange.server)).toEqual(['tools', 'démo'])
  })

  test('too large a body is refused, announced or not, and the connection closed', async () => {
    const body = 'x'.repeat(1001)
    const announced = await askHttp(url(), { headers: { ...HEADERS, 'content-length': '1001' }, body })
    expect(announced).toMatchObject({ status: 413, headers: { connection: 'close' } })
    const head =
      'POST /mcp/apps/tools HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked'
    const chunked = await askSocket(port, raw(head, `3e9\r\n${body}\r\n`), { keepOpen: true })
    expect(chunked).toMatch(/^HTTP\/1\.1 413 /)
    expect(exchanges).toEqual([])
    expect((await askHttp(url(), { headers: { ...HEADERS, 'content-length': '1000' }, body: 'x'.repeat(1000) })).status).toBe(200)
  })

  test('a body that was broken off is no message', async () => {
    const socket = connect(port, '127.0.0.1')
    socket.write(
      raw(
        'POST /mcp/apps/tools HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a\r\nContent-Type: application/json\r\nContent-Length: 10',
        '{"a',
      ),
    )
    await asked.promise
    socket.destroy()
    await left()
    await expect(assertions.get('a', 'tools', '')).resolves.toBeDefined()
    expect(exchanges).toEqual([])
  })

  test('a client that leaves while its token is exchanged leaves nothing waiting', async () => {
    const gate = Promise.withResolvers<unknown>()
    issue = () => gate.promise
    const socket = connect(port, '127.0.0.1')
    socket.write(
      raw(
        'POST /mcp/apps/tools HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a\r\nContent-Type: application/json\r\nContent-Length: 2',
        '{',
      ),
    )
    await asked.promise
    socket.destroy()
    await left()
    gate.resolve({ assertion: 'a.b.c', expires: new Date(now + 300_000).toISOString() })
    await assertions.get('a', 'tools', '')
    await new Promise((resolve) => setImmediate(resolve))
    expect(exchanges).toEqual([])
  })

  test('a client that leaves before its request is handed over is not asked for', async () => {
    const gate = Promise.withResolvers<unknown>()
    issue = () => gate.promise
    const socket = connect(port, '127.0.0.1')
    socket.write(raw('GET /mcp/apps/tools HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a'))
    await asked.promise
    socket.destroy()
    await left()
    gate.resolve({ assertion: 'a.b.c', expires: new Date(now + 300_000).toISOString() })
    await assertions.get('a', 'tools', '')
    await new Promise((resolve) => setImmediate(resolve))
    expect(exchanges).toEqual([])
  })

  test('the agent hears that a client left in the middle of an answer, and may go on writing', async () => {
    const gone = Promise.withResolvers<void>()
    onExchange = ({ answer, signal }) => {
      answer.head(200, { 'content-type': 'text/event-stream' })
      answer.write(Buffer.from(': hello\n\n'))
      signal.addEventListener('abort', () => {
        expect(answer.write(Buffer.from('more'))).toBe(true)
        answer.end(Buffer.from('end'))
        answer.end(Buffer.from('end'))
        answer.abort('late')
        void answer.drained().then(gone.resolve)
      })
    }
    const answer = await openHttp(url(), { method: 'GET', headers: HEADERS })
    answer.leave()
    await gone.promise
  })

  test('an answer that ended is not written again', async () => {
    onExchange = ({ answer }) => {
      answer.head(200, {})
      answer.end(Buffer.from('one'))
      answer.head(500, {})
      answer.write(Buffer.from('two'))
      answer.end(Buffer.from('three'))
    }
    expect(await askHttp(url(), { method: 'GET', headers: HEADERS })).toMatchObject({ status: 200, text: 'one' })
  })

  test('a slow client holds the agent back', async () => {
    const stopped = Promise.withResolvers<number>()
    onExchange = ({ answer }) => {
      answer.head(200, {})
      let written = 0
      while (written < 100_000_000 && answer.write(Buffer.alloc(65_536))) written += 65_536
      stopped.resolve(written)
      void answer.drained().then(() => answer.end())
    }
    const socket = connect(port, '127.0.0.1')
    socket.pause()
    socket.write(raw('GET /mcp/apps/tools HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a'))
    expect(await stopped.promise).toBeLessThan(20_000_000)
    socket.destroy()
  })

  test.each(['HEAD', 'PUT', 'OPTIONS', 'DELETE', 'PATCH'])('%s is the agent’s to answer, with the caller’s assertion', async (method) => {
    await askHttp(url(), { method, headers: HEADERS })
    expect(exchanges).toMatchObject([{ method, assertion: 'a.b.1', body: Buffer.alloc(0) }])
    expect(await askHttp(url(), { method })).toMatchObject({ status: 401 })
  })

  test('credentials and what belongs to the connection stay here', async () => {
    const headers = {
      ...HEADERS,
      cookie: 'a=b',
      'x-forwarded-for': '1.2.3.4',
      forwarded: 'for=1.2.3.4',
      te: 'trailers',
      'mcp-session-id': 's',
      'x-other': 'kept',
    }
    await askHttp(url(), { headers, body: '{"a":1}' })
    expect(exchanges[0]?.headers).toEqual({ 'content-type': 'application/json', 'mcp-session-id': 's', 'x-other': 'kept' })
    expect(exchanges[0]).toMatchObject({ body: Buffer.from('{"a":1}'), remoteAddress: '127.0.0.1', server: 'tools' })
  })

  test('the path of the older transport is the same endpoint, and the target is handed over as it was sent', async () => {
    await askHttp(url('/mcp/apps/tools/sse?sessionId=a%20b'), { headers: HEADERS, body: '{}' })
    expect(exchanges[0]).toMatchObject({ server: 'tools', path: '/mcp/apps/tools/sse?sessionId=a%20b' })
  })

  test('what the Auth Service refuses is the answer', async () => {
    issue = async () => {
      throw new AppError('permission_denied', 'lock targeting user:"ana" is in force')
    }
    const { status, text } = await askHttp(url(), { headers: HEADERS, body: '{}' })
    expect(status).toBe(403)
    expect(JSON.parse(text)).toEqual({
      jsonrpc: '2.0',
      id: null,
      error: { code: -32602, message: 'lock targeting user:"ana" is in force' },
    })
  })

  test('a token that is refused is asked about once, though its body comes late', async () => {
    issue = () => Promise.reject(new AppError('unauthenticated', 'the API token is not valid'))
    const socket = connect(port, '127.0.0.1')
    const head = 'POST /mcp/apps/tools HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n'
    socket.write(raw(`${head}Content-Length: 500\r\nAuthorization: Bearer a`, 'x'.repeat(100)))
    await asked.promise
    socket.write(`${'x'.repeat(400)}GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
    expect((await text(socket)).match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 401', 'HTTP/1.1 200'])
    expect(issued).toEqual(['a tools'])
  })

  test('an unexpected failure is answered with an id and nothing else', async () => {
    issue = async () => {
      throw new Error('password in a stack trace')
    }
    const { status, text } = await askHttp(url(), { headers: HEADERS, body: '{}' })
    expect(status).toBe(500)
    expect(text).toMatch(/internal error \(id [\w-]+\)/)
    expect(text).not.toContain('password')
  })

  test('health needs no name, readiness tells the truth, and the Auth Service has its own paths', async () => {
    expect((await askHttp(url('/healthz'), { method: 'GET', headers: { host: 'anything' } })).status).toBe(200)
    expect((await askHttp(url('/readyz'), { method: 'GET' })).status).toBe(503)
    for (const path of ['/v1/x', '/web/x', '/.well-known/x']) expect((await askHttp(url(path), { method: 'GET' })).text).toBe('auth')
    expect((await askHttp(url('/v1/x'), { method: 'GET', headers: { host: 'evil.example' } })).status).toBe(403)
    expect((await askHttp(url(), { method: 'GET', headers: { ...HEADERS, host: 'mcp.example.com' } })).status).toBe(200)
  })

  test('a token is exchanged once for each server, at once for many', async () => {
    await Promise.all(Array.from({ length: 10 }, () => askHttp(url(), { headers: HEADERS, body: '{}' })))
    await askHttp(url('/mcp/apps/other'), { headers: HEADERS, body: '{}' })
    expect(issued).toEqual(['spt_x tools', 'spt_x other'])
    now += 271_000
    await askHttp(url(), { headers: HEADERS, body: '{}' })
    expect(issued).toHaveLength(3)
  })
})

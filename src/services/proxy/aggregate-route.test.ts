import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { BodyRoom } from '../../lib/body-room.ts'
import { createFeed, type FakeFeed } from '../../../test/fakes/feed.ts'
import { askHttp, openHttp } from '../../../test/fakes/raw-http.ts'
import { eventually } from '../../../test/wait.ts'
import type { ApiClient } from '../../client/call.ts'
import { AppError } from '../../lib/errors.ts'
import { createIds } from '../../lib/ids.ts'
import { silentLogger } from '../../lib/log.ts'
import { createFakeAuth, createFakeNames, type FakeAuth, NOW } from './aggregate-fixture.ts'
import { Aggregate, findAggregate } from './aggregate-route.ts'
import { createProofs } from './dpop.fixture.ts'
import { Assertions } from './assertions.ts'

let feed: FakeFeed
let auth: FakeAuth
let aggregate: Aggregate
let server: Server
/** Exchanges that reached an agent, as `server assertion`. */
let reached: string[]
/** The headers of these. */
let carried: Readonly<Record<string, string>>[]

/** What is done from time to time is done a little at each moment of this clock. */
let clock: () => number

beforeEach(async () => {
  clock = () => NOW
  feed = createFeed()
  auth = createFakeAuth()
  reached = []
  carried = []
  auth.callers.set('spt_ana', { user: 'ana', tokenId: 'T1', servers: ['db'] })
  const issue = (async (_: unknown, input: { server: string }) => {
    if (input.server === 'gone') throw new AppError('not_found', 'MCP server "gone" not found')
    return { assertion: `a.${input.server}.c`, expires: new Date(NOW + 300_000).toISOString() }
  }) as ApiClient // the one route that assertions call
  aggregate = new Aggregate({
    assertions: new Assertions({ clientFor: () => issue, feed, now: () => NOW }),
    clientFor: auth.clientFor,
    api: createFakeNames().api,
    feed,
    target: ({ server: name, assertion, answer, headers }) => {
      reached.push(`${name} ${assertion}`)
      carried.push(headers)
      answer.head(503, { 'content-type': 'application/json' })
      answer.end(Buffer.from('{}'))
    },
    foreign: { names: ['x-idp-jwt'] },
    maxRequestBytes: 1000,
    room: new BodyRoom(1_000_000),
    proofs: createProofs(() => NOW),
    limits: { sessions: 100, sessions_per_user: 10, idle_timeout: '5m' },
    version: '1.2.3',
    now: () => clock(),
    ids: createIds(),
    key: new Uint8Array(32),
    log: silentLogger,
  })
  server = createServer(
    (request, response) => void aggregate.serve(request, response, findAggregate(request.url?.split('?')[0] ?? '')?.set),
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})

afterEach(async () => {
  await aggregate.close()
  server.closeAllConnections()
  server.close()
})

const ask = (path: string, { token = 'spt_ana', body = '{}', type = 'application/json', session = '', foreign = '' } = {}) => {
  // A listening TCP server has an address with a port.
  const { port } = server.address() as AddressInfo
  const headers = {
    'content-type': type,
    accept: 'application/json, text/event-stream',
    ...(token && { authorization: `Bearer ${token}` }),
    ...(session && { 'mcp-session-id': session }),
    ...(foreign && { 'x-idp-jwt': foreign }),
  }
  return askHttp(new URL(`http://127.0.0.1:${port}${path}`), { headers, body })
}

test.each([
  ['no token', '', 'a bearer token is required'],
  ['a token that is not valid', 'spt_other', 'the API token is not valid'],
  ['an assertion for one server', 'a.b.c', 'what you sent is for one server: use its URL, or come with "tsh mcp connect --all"'],
])('%s is refused as unauthenticated, whether the set exists or not', async (_, token, why) => {
  for (const path of ['/mcp', '/mcp/sse', '/mcp/sets/none']) {
    const { status, headers, text } = await ask(path, { token })
    expect([status, headers['www-authenticate']]).toEqual([401, expect.stringMatching(/^Bearer /)])
    expect(JSON.parse(text)).toMatchObject({ jsonrpc: '2.0', id: null, error: { message: expect.stringContaining(why) } })
  }
  expect(reached).toEqual([])
})

test('who is locked out gets no further, at once', async () => {
  auth.callers.set('spt_ana', { user: 'ana', tokenId: 'T1', servers: [], refusal: new AppError('permission_denied', 'locked: lunch') })
  expect(await ask('/mcp')).toMatchObject({ status: 403, text: expect.stringContaining('locked: lunch') })
})

test('a set that does not exist is the same for everybody', async () => {
  auth.callers.set('spt_bob', { user: 'bob', tokenId: 'T2', servers: [] })
  const answers = await Promise.all(['spt_ana', 'spt_bob'].map((token) => ask('/mcp/sets/none', { token })))
  for (const { status, text } of answers) expect([status, text]).toEqual([404, expect.stringContaining('MCP set \\"none\\" not found')])
})

test('other types and too large a body are refused', async () => {
  expect((await ask('/mcp', { type: 'text/plain' })).status).toBe(415)
  expect((await ask('/mcp', { body: 'x'.repeat(1001) })).status).toBe(413)
})

test('an agent is told who calls by an assertion for its server, and one that is refused spoils nothing else', async () => {
  auth.callers.set('spt_ana', { user: 'ana', tokenId: 'T1', servers: ['db', 'gone', 'git'] })
  const params = '{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"raw","version":"1"}}'
  const opened = await ask('/mcp', { body: `{"jsonrpc":"2.0","id":0,"method":"initialize","params":${params}}` })
  const session = String(opened.headers['mcp-session-id'])
  const { text } = await ask('/mcp', { session, body: '{"jsonrpc":"2.0","id":1,"method":"tools/list"}' })
  const unavailable = JSON.parse(text).result._meta['sallyport.dev/unavailable']
  expect(unavailable.map(({ server: name }: { server: string }) => name)).toEqual(['db', 'git', 'gone'])
  expect(unavailable[2].reason).toContain('MCP server "gone" not found')
  expect([...new Set(reached)].toSorted()).toEqual(['db a.db.c', 'git a.git.c'])
})

test('an agent does not see the token of another issuer, which would open its server and others to it', async () => {
  const params = '{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"raw","version":"1"}}'
  const body = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":${params}}`
  const session = String((await ask('/mcp', { body, foreign: 'e.y.J' })).headers['mcp-session-id'])
  await ask('/mcp', { session, body: '{"jsonrpc":"2.0","id":1,"method":"tools/list"}', foreign: 'e.y.J' })
  expect(carried.length).toBeGreaterThan(0)
  expect(carried.flatMap((headers) => headers['x-idp-jwt'] ?? [])).toEqual([])
})

/** The stream of a client of 2024-11-05, and where it is to post. */
const openStream = async (path: string) => {
  // A listening TCP server has an address with a port.
  const { port } = server.address() as AddressInfo
  const headers = { accept: 'text/event-stream', authorization: 'Bearer spt_ana' }
  const stream = await openHttp(new URL(`http://127.0.0.1:${port}${path}`), { method: 'GET', headers })
  const endpoint = await eventually('the endpoint', async () => /data: (\S+)\n/.exec(stream.text())?.[1])
  return { ...stream, endpoint }
}
const INITIALIZE =
  '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2024-11-05","capabilities":{},"clientInfo":{"name":"old","version":"1"}}}'

test.each(['/mcp', '/mcp/sse', '/mcp/sets/dev', '/mcp/sets/dev/sse'])('HTTP+SSE at %s: nobody else gets in', async (path) => {
  feed.put('mcp_set', { version: 'v1', metadata: { name: 'dev' }, spec: { servers: { names: ['db'] } } })
  auth.callers.set('spt_bob', { user: 'bob', tokenId: 'T2', servers: ['db'] })
  auth.callers.set('spt_ana2', { user: 'ana', tokenId: 'T3', servers: ['db'] })
  const stream = await openStream(path)
  expect(stream.endpoint).toMatch(new RegExp(`^${path}\\?sessionId=.{20,}$`))
  for (const [token, status] of Object.entries({ '': 401, spt_bob: 404, spt_ana2: 404 })) {
    expect([token, (await ask(stream.endpoint, { token, body: INITIALIZE })).status]).toEqual([token, status])
  }
  const other = path.startsWith('/mcp/sets') ? '/mcp' : '/mcp/sets/dev'
  expect((await ask(stream.endpoint.replace(path, other), { body: INITIALIZE })).status).toBe(404)
  expect((await ask(stream.endpoint, { body: INITIALIZE })).status).toBe(202)
  await eventually('the answer', async () => (stream.text().includes('"protocolVersion":"2024-11-05"') ? true : undefined))
  stream.leave()
})

test('HTTP+SSE: whose token is revoked loses the stream', async () => {
  clock = () => NOW + performance.now()
  const stream = await openStream('/mcp/sse')
  await ask(stream.endpoint, { body: INITIALIZE })
  await eventually('the answer', async () => (stream.text().includes('"serverInfo"') ? true : undefined))
  auth.callers.delete('spt_ana')
  feed.revoke('T1')
  expect(await stream.ended).toContain(': the API token is not valid')
  expect((await ask(stream.endpoint)).status).toBe(401)
})

test('HTTP+SSE: a set that goes takes its streams along', async () => {
  clock = () => NOW + performance.now()
  feed.put('mcp_set', { version: 'v1', metadata: { name: 'dev' }, spec: { servers: { names: ['db'] } } })
  const stream = await openStream('/mcp/sets/dev/sse')
  await ask(stream.endpoint, { body: INITIALIZE })
  await eventually('the answer', async () => (stream.text().includes('"serverInfo"') ? true : undefined))
  feed.remove('mcp_set', 'dev')
  expect(await stream.ended).toContain(': MCP set "dev" no longer exists')
})

test('a caller has as many sessions as the configuration says', async () => {
  const body = '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}'
  const statuses: number[] = []
  for (let n = 0; n < 11; n++) statuses.push((await ask('/mcp', { body })).status)
  expect(statuses).toEqual([...Array.from({ length: 10 }, () => 200), 429])
})

test.each([
  ['/mcp', { set: undefined }],
  ['/mcp/', { set: undefined }],
  ['/mcp/sse', { set: undefined }],
  ['/mcp/sse/', { set: undefined }],
  ['/mcp/sets/dev/sse', { set: 'dev' }],
  ['/mcp/sets/sse', { set: 'sse' }],
  ['/mcp/sse/dev', undefined],
  ['/mcp/sets/dev', { set: 'dev' }],
  ['/mcp/sets/d%C3%A9v/', { set: 'dév' }],
  ['/mcp/sets/', undefined],
  ['/mcp/sets/..', undefined],
  ['/mcp/sets/a%20b', undefined],
  ['/mcp/apps/x', undefined],
  ['/mcps', undefined],
])('%s is %j', (path, found) => {
  expect(findAggregate(path)).toEqual(found)
})

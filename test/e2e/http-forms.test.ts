import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Cluster, startCluster } from '../cluster.ts'
import { askSocket } from '../fakes/raw-http.ts'
import { openSession } from '../fakes/raw-mcp.ts'
import { json, type ScriptedHttp, sse, startScriptedHttp } from '../fakes/scripted-http.ts'
import { eventually } from '../wait.ts'

// HTTP as it is allowed but seldom seen, and as it is not allowed: answered, or refused and the connection closed, and the MCP server gets each
// message once or never.

let cluster: Cluster
let server: ScriptedHttp
let token: string
let port: number
const sessions: Record<string, string> = {}

beforeAll(async () => {
  server = await startScriptedHttp()
  cluster = await startCluster()
  await cluster.saveHttpApp('web', server.url)
  await cluster.saveRole('guest', { allow: { app_labels: { env: 'test' }, mcp: { tools: ['echo'] } } })
  await cluster.saveUser('ana', ['guest'])
  token = await cluster.tokenOf('ana')
  port = Number(new URL(cluster.url).port)
  for (const path of ['/mcp/apps/web', '/mcp']) sessions[path] = await openSession(new URL(path, cluster.url), token)
}, 60_000)

afterAll(async () => {
  await cluster?.close()
  await server?.close()
})

const answerAll: ScriptedHttp['script'] = (id, body, response) =>
  json(response, `{"jsonrpc":"2.0","id":${id},"result":${body.includes('tools/list') ? '{"tools":[{"name":"echo"}]}' : '{"content":[]}'}}`)
beforeEach(() => {
  server.script = answerAll
  server.bodies.length = 0
})

const calls = (): string[] => server.bodies.filter((body) => body.includes('"id":7'))
const statuses = (text: string): string[] => text.match(/HTTP\/1\.[01] \d+/g) ?? []

describe.each([
  { path: '/mcp/apps/web', tool: 'echo' },
  { path: '/mcp', tool: 'web_echo' },
])('at $path', ({ path, tool }) => {
  const call = (id = 7): string => `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"${tool}"}}`
  const head = (more: string, version = '1.1'): string =>
    [
      `POST ${path} HTTP/${version}`,
      'Host: localhost',
      `Authorization: Bearer ${token}`,
      `Mcp-Session-Id: ${sessions[path]}`,
      'Content-Type: application/json',
      'Accept: application/json, text/event-stream',
      `${more}\r\n\r\n`,
    ].join('\r\n')
  const post = (id?: number, more = ''): string => head(`${more}Content-Length: ${call(id).length}`) + call(id)
  const chunked = (body: string, trailers = ''): string => `${body.length.toString(16)};x="y"\r\n${body}\r\n0\r\n${trailers}\r\n`
  const RESULT = '"result":{"content":[]}'

  beforeAll(async () => {
    // At `/mcp` a tool is known once it was listed.
    const list = '{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
    await askSocket(port, head(`Connection: close\r\nContent-Length: ${list.length}`) + list, { keepOpen: true })
  })

  test('chunks, with extensions and with trailers, which go nowhere', async () => {
    const text = chunked(call(), 'X-Late: 1\r\nAuthorization: Bearer other\r\nMcp-Session-Id: other\r\n')
    const answer = await askSocket(port, head('Transfer-Encoding: chunked\r\nTrailer: X-Late\r\nConnection: close') + text, {
      keepOpen: true,
    })
    expect(statuses(answer)).toEqual(['HTTP/1.1 200'])
    expect(answer).toContain(RESULT)
    expect(calls()).toHaveLength(1)
  })

  test.each([
    ['a length beside chunks', () => head(`Transfer-Encoding: chunked\r\nContent-Length: ${call().length}`) + chunked(call())],
    ['chunks twice', () => head('Transfer-Encoding: chunked, chunked') + chunked(call())],
    ['chunks that are not last', () => head('Transfer-Encoding: chunked, identity') + chunked(call())],
    ['a chunk size that is none', () => `${head('Transfer-Encoding: chunked')}0x10\r\n${call()}\r\n0\r\n\r\n`],
    ['a chunk longer than it says', () => `${head('Transfer-Encoding: chunked')}5\r\n${call()}\r\n0\r\n\r\n`],
    ['an endless chunk size', () => `${head('Transfer-Encoding: chunked')}${'0'.repeat(20_000)}5\r\n`],
    ['a line end that is none', () => head('Content-Length: 2').replaceAll('\r\n', '\n')],
  ])('%s: refused, the connection closed, nothing sent', async (_, text) => {
    const answer = await askSocket(port, `${text()}${post()}`, { keepOpen: true })
    expect(statuses(answer)).toEqual(['HTTP/1.1 400'])
    expect(calls()).toEqual([])
  })

  test.each(['gzip, chunked', 'identity, chunked', ', chunked'])('a coding that nobody undoes, before chunks: %s', async (coding) => {
    const answer = await askSocket(port, head(`Transfer-Encoding: ${coding}`) + chunked(call()), { keepOpen: true })
    expect(Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1])).toBeOneOf([400, 501])
    expect(calls()).toEqual([])
  })

  test('what waits for 100 Continue gets it, and what is too large is told so before it is sent', async () => {
    const socket = connect(port, '127.0.0.1')
    let got = ''
    socket.on('data', (chunk: Buffer) => (got += chunk.toString('latin1')))
    socket.write(head(`Expect: 100-continue\r\nConnection: close\r\nContent-Length: ${call().length}`))
    await eventually('100 Continue', () => got.includes('100 Continue') || undefined)
    expect(calls()).toEqual([])
    socket.write(call())
    await once(socket, 'close')
    expect(statuses(got)).toEqual(['HTTP/1.1 100', 'HTTP/1.1 200'])
    const large = await askSocket(port, head('Expect: 100-continue\r\nContent-Length: 999999999'), { keepOpen: true })
    expect(statuses(large).at(-1)).toBe('HTTP/1.1 413')
    const odd = await askSocket(port, head('Expect: a-miracle\r\nContent-Length: 2\r\nConnection: close') + '{}', { keepOpen: true })
    expect(statuses(odd)).toEqual(['HTTP/1.1 417'])
    expect(calls()).toHaveLength(1)
  })

  test('requests that come before their turn, in every form, are answered in order', async () => {
    server.script = (id, body, response) => void setTimeout(() => answerAll(id, body, response), id === '11' ? 60 : 1)
    const forms = [
      post(11),
      head('Transfer-Encoding: chunked') + chunked(call(12)),
      post(13, 'X-A: 1\r\nX-A: 2\r\n'),
      post(14),
      `GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n`,
      post(15, 'Connection: close\r\n'),
    ]
    const answer = await askSocket(port, forms.join(''), { keepOpen: true })
    expect(statuses(answer)).toEqual(Array.from({ length: 6 }, () => 'HTTP/1.1 200'))
    expect(answer.match(/"id":1\d/g)).toEqual(['"id":11', '"id":12', '"id":13', '"id":14', '"id":15'])
    expect(server.bodies.map((body) => /"id":(\d+)/.exec(body)?.[1])).toEqual(['11', '12', '13', '14', '15'])
  })

  test('what follows a request that closes the connection is not read', async () => {
    const answer = await askSocket(port, post(21, 'Connection: close\r\n') + post(22), { keepOpen: true })
    expect(statuses(answer)).toEqual(['HTTP/1.1 200'])
    expect(server.bodies.map((body) => /"id":(\d+)/.exec(body)?.[1])).toEqual(['21'])
  })

  test('a client that closes its half has left, as it has for http.Server: the connection ends and nothing waits', async () => {
    const seen = Promise.withResolvers<() => void>()
    server.script = (id, body, response) => seen.resolve(() => answerAll(id, body, response))
    const asking = askSocket(port, post(31))
    const answer = await seen.promise
    expect(await asking).toBe('')
    answer()
    server.script = answerAll
    expect(await askSocket(port, post(32, 'Connection: close\r\n'), { keepOpen: true })).toContain(RESULT)
  })

  test('HTTP/1.0 is answered without chunks, and its connection closed', async () => {
    const answer = await askSocket(port, head(`Content-Length: ${call(41).length}`, '1.0') + call(41), { keepOpen: true })
    expect(statuses(answer)).toEqual(['HTTP/1.1 200'])
    expect(answer).toContain(RESULT)
    server.script = (id, _, response) => sse(response, `{"jsonrpc":"2.0","id":${id},${RESULT}}`)
    const events = await askSocket(port, head(`Content-Length: ${call(42).length}`, '1.0') + call(42), { keepOpen: true })
    expect(events).toContain(`data: {"jsonrpc":"2.0","id":42,${RESULT}}\n\n`)
    expect(events.toLowerCase()).not.toContain('transfer-encoding')
  })

  test.each([
    ['a header of 100 KB', () => post(7, `X-Long: ${'x'.repeat(100_000)}\r\n`), [400, 431]],
    ['5000 headers', () => post(7, Array.from({ length: 5000 }, (_, n) => `X-${n}: 1\r\n`).join('')), [400, 431]],
    ['a target of 100 KB', () => post().replace(path, `${path}?${'x'.repeat(100_000)}`), [400, 414, 431]],
    ['a method that is none', () => post().replace('POST', 'P OST'), [400]],
    ['another version', () => post().replace('HTTP/1.1', 'HTTP/2.1'), [400, 505]],
    ['no Host', () => post(7, 'Connection: close\r\n').replace('Host: localhost\r\n', ''), [400, 403]],
  ])('%s: refused, nothing sent', async (_, text, expected) => {
    const answer = await askSocket(port, text(), { keepOpen: true, until: /\r\n\r\n/ })
    expect(Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1])).toBeOneOf(expected)
    expect(calls()).toEqual([])
  })
})

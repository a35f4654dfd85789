import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createSseParser } from '../../src/lib/sse.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { askHttp, openHttp } from '../fakes/raw-http.ts'
import { headersOf, openSession } from '../fakes/raw-mcp.ts'
import { json, type ScriptedHttp, startScriptedHttp } from '../fakes/scripted-http.ts'
import { ODD_RESULTS, UNCLEAR_ANSWERS } from '../hostile-corpus.ts'

// What hostile servers answer, in JSON, in events and over stdio, at the endpoint of one server and at that of all.

/** A program that answers every call with the text of its argument `say`, as it stands. */
const PUPPET = `
  const lines = require('readline').createInterface({ input: process.stdin })
  lines.on('line', (line) => {
    const { id, method, params } = JSON.parse(line)
    if (id === undefined) return
    const say = (text) => process.stdout.write('{"jsonrpc":"2.0","id":' + JSON.stringify(id) + ',"result":' + text + '}\\n')
    if (method === 'initialize') return say('{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"puppet","version":"1"}}')
    if (method === 'tools/list') return say('{"tools":[{"name":"echo","inputSchema":{"type":"object"}}]}')
    if (method !== 'tools/call') return say('{}')
    const text = params.arguments.say
    if (params.arguments.bytes) for (let i = 0; i < params.arguments.bytes; i += 65536) process.stdout.write('x'.repeat(65536))
    process.stdout.write(text.replaceAll('LONG', 'x'.repeat(params.arguments.long ?? 1)).replaceAll('"id":1', '"id":' + id) + '\\n')
  })
`

let cluster: Cluster
let server: ScriptedHttp
let token: string
/** Where redirects lead to. */
const elsewhere = { url: '', seen: 0, close: (): void => undefined }

beforeAll(async () => {
  server = await startScriptedHttp()
  const lure = createServer((_, response) => {
    elsewhere.seen += 1
    response.end()
  })
  await new Promise<void>((resolve) => lure.listen(0, '127.0.0.1', resolve))
  // A listening TCP server has an address with a port.
  const { port } = lure.address() as AddressInfo
  elsewhere.url = `http://127.0.0.1:${port}/mcp`
  elsewhere.close = () => void lure.close()
  cluster = await startCluster()
  await cluster.saveHttpApp('web', server.url)
  await cluster.saveStdioApp('puppet', process.execPath, ['-e', PUPPET])
  await cluster.saveRole('guest', { allow: { app_labels: { env: 'test' }, mcp: { tools: ['echo'] } } })
  await cluster.saveUser('ana', ['guest'])
  token = await cluster.tokenOf('ana')
})

afterAll(async () => {
  await cluster.close()
  await server.close()
  elsewhere.close()
})

beforeEach(() => {
  server.script = (id, _, response) =>
    json(response, `{"jsonrpc":"2.0","id":${id},"result":{"tools":[{"name":"echo","inputSchema":{"type":"object"}}]}}`)
})

const textEvent = (text: string, end = '\n'): string => `data: ${text}${end}${end}`
const events = (response: ServerResponse, text: string): void =>
  void response.writeHead(200, { 'content-type': 'text/event-stream' }).end(text)

describe.each([
  { path: '/mcp/apps/web', stdio: '/mcp/apps/puppet', tool: 'echo', puppet: 'echo' },
  { path: '/mcp', stdio: '/mcp', tool: 'web_echo', puppet: 'puppet_echo' },
])('at $path', ({ path, stdio, tool, puppet }) => {
  const sessions = { web: '', puppet: '' }
  const ask = (to: string, session: string, name: string, args = '{}') =>
    askHttp(new URL(to, cluster.url), {
      headers: headersOf(token, { 'mcp-session-id': session }),
      body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"${name}","arguments":${args}}}`,
    })
  const call = () => ask(path, sessions.web, tool)
  const say = (text: string, more: { long?: number; bytes?: number } = {}) =>
    ask(stdio, sessions.puppet, puppet, JSON.stringify({ say: text, ...more }))

  const begin = async (to: string): Promise<string> => {
    const session = await openSession(new URL(to, cluster.url), token)
    const headers = headersOf(token, { 'mcp-session-id': session })
    const { text } = await askHttp(new URL(to, cluster.url), { headers, body: '{"jsonrpc":"2.0","id":0,"method":"tools/list"}' })
    expect(text).toContain('echo"')
    return session
  }
  beforeAll(async () => {
    server.script = (id, _, response) =>
      json(response, `{"jsonrpc":"2.0","id":${id},"result":{"tools":[{"name":"echo","inputSchema":{"type":"object"}}]}}`)
    sessions.web = await begin(path)
    sessions.puppet = stdio === path ? sessions.web : await begin(stdio)
  })

  /** An error for the request with id 1, and nothing of what the server meant to say, or a connection that was visibly cut. */
  const expectNone = ({ status, text }: { status: number; text: string }): void => {
    const isCut = status === 200 && text.length > 60_000
    expect(isCut || /"id":1,"error":\{"code":-32603/.test(text)).toBe(true)
    expect(text).not.toMatch(/"id":2|"ID"|\\u0069d|"method"/)
  }

  describe.each([1, 100_000])('with %i letters', (long) => {
    test.each(UNCLEAR_ANSWERS)('%s: no answer in JSON, in events or over stdio', async (_, template) => {
      const text = template.replaceAll('LONG', 'x'.repeat(long))
      server.script = (id, __, response) => json(response, text.replaceAll('"id":1', `"id":${id}`))
      const stream = await openHttp(new URL(path, cluster.url), {
        headers: headersOf(token, { 'mcp-session-id': sessions.web }),
        body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"${tool}"}}`,
      })
      const answer = await stream.ended
      expect(answer.length).toBeLessThan(text.length < 1000 ? 1000 : text.length)
      expect(answer.endsWith('}') && answer.length > 60_000 ? JSON.parse(answer) : {}).toEqual({})
      if (answer.length < 1000) expectNone({ status: stream.status, text: answer })

      server.script = (id, __, response) => events(response, textEvent(text.replaceAll('"id":1', `"id":${id}`)))
      expectNone(await call())
    })
  })

  test.each(UNCLEAR_ANSWERS.filter(([what]) => !/another|null|list|more|JSON/.test(what)))(
    'a program whose answer has %s has given none',
    async (_, text) => {
      expectNone(await say(text))
      expectNone(await say(text, { long: 100_000 }))
    },
  )

  test.each(ODD_RESULTS)('the result %s passes to the letter', async (result) => {
    const text = `{"jsonrpc":"2.0","id":1,"result":${result}}`
    server.script = (_, __, response) => json(response, text)
    expect(await call()).toMatchObject({ status: 200, text })
    // Line ends within a message are white space; as an event each line of it is a line of data.
    const data = text.replaceAll('\r\n', ' ')
    server.script = (_, __, response) => events(response, textEvent(data))
    expect((await call()).text).toContain(`data: ${data}\n\n`)
    expect((await say(data)).text).toBe(data)
  })

  test.each<[string, (response: ServerResponse, id: string) => void]>([
    ['a page of HTML', (response) => void response.writeHead(200, { 'content-type': 'text/html' }).end('<p>"id":1</p>')],
    ['no type', (response) => void response.writeHead(200).end('{"jsonrpc":"2.0","id":1,"result":{}}')],
    ['nothing', (response) => void response.writeHead(200, { 'content-type': 'application/json' }).end()],
    ['202', (response) => void response.writeHead(202).end()],
    ['204', (response) => void response.writeHead(204).end()],
    ['a redirect', (response) => void response.writeHead(307, { location: elsewhere.url }).end()],
    ['a redirect that asks for a page', (response) => void response.writeHead(302, { location: elsewhere.url }).end()],
    [
      'JSON in gzip',
      (response, id) =>
        void response
          .writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' })
          .end(gzipSync(`{"jsonrpc":"2.0","id":${id},"result":{}}`)),
    ],
    [
      'a gzip bomb of events',
      (response) =>
        void response
          .writeHead(200, { 'content-type': 'text/event-stream', 'content-encoding': 'gzip' })
          .end(gzipSync(Buffer.alloc(50_000_000))),
    ],
    ['a challenge', (response) => void response.writeHead(401, { 'www-authenticate': 'Bearer realm="x"' }).end('{}')],
    [
      'a byte order mark',
      (response, id) =>
        void response.writeHead(200, { 'content-type': 'application/json' }).end(`\ufeff{"jsonrpc":"2.0","id":${id},"result":{}}`),
    ],
    ['a stream that ends at once', (response) => events(response, '')],
    ['a stream of comments', (response) => events(response, ': hello\n\n'.repeat(1000))],
    ['half an event', (response, id) => events(response, `data: {"jsonrpc":"2.0","id":${id},"result":{}}\n`)],
    ['an event that is not JSON', (response) => events(response, textEvent('oops'))],
    [
      'half an answer',
      (response) => void response.writeHead(200, { 'content-type': 'application/json', 'content-length': 500 }).write('{"id"'),
    ],
  ])('%s is no answer: an error, and no headers of the server', async (what, script) => {
    server.script = (id, _, response) => {
      script(response, id)
      if (what === 'half an answer') setTimeout(() => response.destroy(), 50)
    }
    const { status, headers, text } = await call()
    expect(text).toMatch(/"id":1,"error":\{"code":-32603/)
    expect([status, elsewhere.seen]).toEqual([expect.toBeOneOf([200, 502, 504]), 0])
    expect(headers['location'] ?? headers['www-authenticate'] ?? headers['content-encoding']).toBe(undefined)
  })

  test.each(['\r', '\r\n', '\n'])('events with line ends of every kind are events: %j', async (end) => {
    const note = '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}'
    server.script = (id, _, response) =>
      events(
        response,
        `\ufeff: comment${end}retry: 1000000000000${end}${end}id: a\0b${end}event: message${end}${textEvent(note, end)}id${end}${textEvent(`{"jsonrpc":"2.0",${end}data: "id":${id},"result":{}}`, end)}`,
      )
    const { status, text } = await call()
    expect(status).toBe(200)
    const seen = createSseParser()
      .push(Buffer.from(text))
      .flatMap(({ data }): unknown[] => (data.length === 0 ? [] : [JSON.parse(data.toString())]))
    expect(seen).toEqual([JSON.parse(note), { jsonrpc: '2.0', id: 1, result: {} }])
  })

  test('interim answers and trailers are not the answer', async () => {
    server.script = (id, _, response) => {
      response.writeEarlyHints({ link: '</style.css>; rel=preload' })
      response.writeProcessing()
      response.writeHead(200, { 'content-type': 'application/json', trailer: 'mcp-session-id, content-type' })
      response.write(`{"jsonrpc":"2.0","id":${id},`)
      response.addTrailers({ 'mcp-session-id': 'stolen', 'content-type': 'text/html' })
      response.end('"result":{}}')
    }
    const { status, headers, text } = await call()
    expect([status, text, headers['content-type']]).toEqual([200, '{"jsonrpc":"2.0","id":1,"result":{}}', 'application/json'])
    expect(headers['mcp-session-id']).not.toBe('stolen')
    expect((await call()).status).toBe(200)
  })

  test('an event, and a line, of 100 MB end with an error, and take little memory', async () => {
    server.script = (_, __, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      let left = 100
      const more = (): void => {
        while (left-- > 0) if (!response.write('x'.repeat(1024 * 1024))) return void response.once('drain', more)
        response.end()
      }
      response.write('data: ')
      more()
    }
    const before = process.memoryUsage().rss
    expect((await call()).text).toMatch(/"id":1,"error":\{"code":-32603/)
    const line = await say('', { bytes: 100 * 1024 * 1024 })
    expect(line.text).toMatch(/"id":1,"error":\{"code":-32603/)
    // This process is both: it makes the text as well.
    expect((process.memoryUsage().rss - before) / 1024 ** 2).toBeLessThan(400)
  })
})

import { afterEach, describe, expect, test } from 'vitest'
import { call, faultOf, messageText, never } from '../../../test/fakes/outgoing.ts'
import { openAs } from '../../../test/fakes/stdio-app.ts'
import { startRawServer } from '../../lib/http-wire/raw-server.fixture.ts'
import type { RawServer } from '../../lib/http-wire/raw-server.fixture.ts'
import { silentLogger } from '../../lib/log.ts'
import { appSchema } from '../../resources/app.ts'
import { createHttpUpstream } from './http.ts'
import type { HttpLimits } from './http-limits.ts'
import type { Upstream, UpstreamSession } from './upstream.ts'

const opened: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close()
})

async function connect(
  era: 'legacy' | 'modern' = 'modern',
  limits: Partial<HttpLimits> = {},
): Promise<{ server: RawServer; upstream: Upstream; session: UpstreamSession }> {
  const server = await startRawServer()
  const uri = `mcp+${server.origin.origin}/mcp`
  const app = appSchema.parse({ kind: 'app', version: 'v3', metadata: { name: 'web' }, spec: { uri } })
  const upstream = createHttpUpstream(app, { now: Date.now, log: silentLogger, limits })
  opened.push(server, upstream)
  return { server, upstream, session: await upstream.open(openAs(era)) }
}

const answer = (text: string): string =>
  `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${text.length}\r\n\r\n${text}`

describe('an answer that two readers could read in two ways', () => {
  test.each([
    ['content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n', 'both content-length and transfer-encoding'],
    ['content-length: 2\r\ncontent-length: 3\r\n\r\n{}', 'content-length more than once'],
    ['x: y\r\n z\r\n\r\n{}', 'a folded line in its header'],
  ])('%j', async (rest, words) => {
    const { server, session } = await connect()
    const fault = faultOf(session.send(call('1', 'echo'), never))
    const peer = await server.accept()
    await peer.receive('}}')
    peer.write(`HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n${rest}`)
    expect(await fault).toEqual({
      code: 'unavailable',
      origin: 'upstream',
      message: `MCP server "web" does not follow the protocol: its answer is not valid HTTP (${words})`,
    })
    await peer.closed
  })
})

test('a second answer is never that of the next caller', async () => {
  const { server, upstream, session } = await connect()
  const first = session.send(call('1', 'echo'), never)
  const peer = await server.accept()
  await peer.receive('}}')
  peer.write(answer('{"first":1}') + answer('{"smuggled":1}'))
  expect(messageText(await first)).toBe('{"first":1}')
  const other = await upstream.open(openAs('modern'))
  const second = other.send(call('2', 'echo'), never)
  const next = await server.accept()
  await next.receive('}}')
  next.write(answer('{"second":1}'))
  expect(messageText(await second)).toBe('{"second":1}')
})

test('what was answered does not change when the connection is read again', async () => {
  const { server, session } = await connect()
  const first = session.send(call('1', 'echo'), never)
  const peer = await server.accept()
  await peer.receive('}}')
  peer.write(answer('{"a":"aaaaaaaa"}'))
  const kept = await first
  const second = session.send(call('2', 'echo'), never)
  await peer.receive('}}')
  peer.write(answer('{"b":"bbbbbbbb"}'))
  expect([messageText(await second), messageText(kept)]).toEqual(['{"b":"bbbbbbbb"}', '{"a":"aaaaaaaa"}'])
})

test('an answer in a great many small pieces is one message', async () => {
  const { server, session } = await connect()
  const reply = session.send(call('1', 'echo', {}, { whole: true }), never)
  const peer = await server.accept()
  await peer.receive('}}')
  peer.write('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n')
  peer.write(`1\r\n"\r\n${'1\r\nx\r\n'.repeat(200_000)}1\r\n"\r\n0\r\n\r\n`)
  expect(messageText(await reply)).toBe(`"${'x'.repeat(200_000)}"`)
})

test('a rewritten header that HTTP cannot carry is refused by name', async () => {
  const { upstream } = await connect()
  for (const value of ['a\r\nb: c', 'ключ'])
    expect(await faultOf(upstream.open(openAs('modern', { 'X-Name': value })))).toEqual({
      code: 'failed_precondition',
      origin: 'gateway',
      message: 'MCP server "web" sets the header "X-Name", whose name or value HTTP cannot carry: mend rewrite.headers or the traits in it',
    })
})

test('a server that does not answer a cancellation keeps no connection', async () => {
  const { server, session } = await connect('legacy', { closeTimeoutMs: 20 })
  const abort = new AbortController()
  const fault = faultOf(session.send(call('1', 'echo'), abort.signal))
  await (await server.accept()).receive('}}')
  abort.abort()
  const peer = await server.accept()
  await peer.receive('notifications/cancelled')
  await peer.closed
  expect(await fault).toMatchObject({ code: 'cancelled' })
})

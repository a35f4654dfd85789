import { once } from 'node:events'
import type { AddressInfo, Server, Socket } from 'node:net'
import { connect, createServer } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { BodyRoom } from '../../lib/body-room.ts'
import { createFeed, type FakeFeed } from '../../../test/fakes/feed.ts'
import type { ApiClient } from '../../client/call.ts'
import { silentLogger } from '../../lib/log.ts'
import type { Exchange } from '../../tunnel/exchange.ts'
import { Assertions } from './assertions.ts'
import { createProofs } from './dpop.fixture.ts'
import { ForeignHeaders } from './foreign-headers.ts'
import { createProxyServer } from './server.ts'

const now = Date.parse('2027-01-01T00:00:00Z')

let feed: FakeFeed
/** What reached the agent. */
let exchanges: Exchange[]
let server: Server
/** Of the server, in the order of their connections. */
let sockets: Socket[]
let byOwnServer: boolean

beforeEach(async () => {
  feed = createFeed()
  exchanges = []
  sockets = []
  /* The one route that is called. */
  const clientFor = () => (async () => ({ assertion: 'a.b.c', expires: new Date(now + 300_000).toISOString() })) as ApiClient
  const proxy = createProxyServer({
    assertions: new Assertions({ clientFor, feed, now: () => now }),
    foreign: new ForeignHeaders(feed),
    target: (exchange) => {
      exchanges.push(exchange)
      exchange.answer.head(200, { 'content-type': 'application/json' })
      exchange.answer.end(Buffer.from('{}'))
    },
    maxRequestBytes: 1000,
    room: new BodyRoom(1_000_000),
    proofs: createProofs(() => now),
    aggregate: {
      serve: async () => undefined,
      routeOf: () => {
        throw new Error('nobody asks for it')
      },
    },
    auth: () => undefined,
    publicAddresses: [],
    isReady: () => true,
    monotonic: () => 0,
    now: () => now,
    log: silentLogger,
  })
  server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket)
    if (byOwnServer) proxy.accept(socket)
    else proxy.fallback.emit('connection', socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})

afterEach(async () => {
  for (const socket of sockets) socket.destroy()
  server.close()
  await once(server, 'close')
})

test.each([
  ['our own server', true],
  ['http.Server', false],
])('%s keeps a header back as soon as a configuration names it, on connections that are open too', async (_, isOwn) => {
  byOwnServer = isOwn
  // A listening TCP server has an address with a port.
  const { port } = server.address() as AddressInfo
  const name = (header: string): void =>
    feed.put('app_auth_config', {
      sub_kind: 'jwt',
      version: 'v1',
      metadata: { name: 'corp' },
      spec: {
        app_labels: { env: 'dev' },
        jwt: { issuer: 'https://idp.example', audience: 'mcp', jwks_url: 'https://idp.example/keys', authorization_header: header },
      },
    })
  const client = connect(port, '127.0.0.1')
  const head =
    'POST /mcp/apps/tools HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\nAuthorization: Bearer a\r\nX-One: 1\r\nX-Two: 2'
  const answered = async (): Promise<void> => {
    for (let text = ''; !text.includes('{}');) text += String((await once(client, 'data'))[0])
  }
  const send = async (): Promise<void> => {
    client.write(`${head}\r\n\r\n{}`)
    await answered()
  }
  await send()
  name('X-One')
  await send()
  // The head is there, its body not yet.
  const arrived = sockets[0] && once(sockets[0], 'data')
  client.write(`${head}\r\n\r\n`)
  await arrived
  name('X-Two')
  client.write('{}')
  await answered()
  client.destroy()
  expect(exchanges.map(({ headers }) => [headers['x-one'], headers['x-two']])).toEqual([
    ['1', '2'],
    [undefined, '2'],
    ['1', undefined],
  ])
  expect(sockets).toHaveLength(1)
})

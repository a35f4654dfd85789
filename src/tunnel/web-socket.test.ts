import { createServer as createHttp } from 'node:http'
import type { Server } from 'node:http'
import { createServer as createHttps } from 'node:https'
import { connect } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { WebSocket } from 'ws'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { within } from '../../test/wait.ts'
import { silentLogger } from '../lib/log.ts'
import { serveTunnel } from './agent-tunnel.ts'
import { selfSigned } from './certificates.fixture.ts'
import { realClock } from './clock.ts'
import { createInnerTls, secureAsClient } from './inner-tls.fixture.ts'
import { openTunnel } from './proxy-tunnel.ts'
import { ask, echo } from './tunnel.fixture.ts'
import { TUNNEL_PATH, TUNNEL_SUBPROTOCOL, acceptWebSockets, dialWebSocket } from './web-socket.ts'

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0).toReversed()) close()
})

async function listen(server: Server): Promise<number> {
  const sockets = new Set<Duplex>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
  })
  closers.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address: AddressInfo | string | null = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** An HTTP proxy that lets CONNECT with the right name and password pass, and nothing else. */
async function startHttpProxy(): Promise<{ port: number; targets: string[] }> {
  const targets: string[] = []
  const server = createHttp((_, response) => response.writeHead(405).end())
  server.on('connect', (request, socket: Duplex) => {
    socket.on('error', () => undefined)
    if (request.headers['proxy-authorization'] !== `Basic ${Buffer.from('ana:p@ss:wörd').toString('base64')}`)
      return void socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n')
    targets.push(request.url ?? '')
    const through = connect(Number((request.url ?? '').split(':')[1]), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      through.pipe(socket).pipe(through)
    })
    through.on('error', () => socket.destroy())
    socket.on('close', () => through.destroy())
  })
  return { port: await listen(server), targets }
}

const signal = new AbortController().signal

describe('the door for WebSockets', () => {
  let url = new URL('ws://127.0.0.1')
  const taken: Duplex[] = []
  beforeEach(async () => {
    taken.length = 0
    const server = createHttp((_, response) => response.writeHead(404).end())
    server.on(
      'upgrade',
      acceptWebSockets((stream) => void taken.push(stream)),
    )
    url = new URL(`ws://127.0.0.1:${await listen(server)}`)
  })

  test.each([
    ['another path', '/v1/other', [TUNNEL_SUBPROTOCOL], {}, 'Unexpected server response: 404'],
    ['no subprotocol', TUNNEL_PATH, [], {}, 'Unexpected server response: 400'],
    ['another subprotocol', TUNNEL_PATH, ['chat'], {}, 'Unexpected server response: 400'],
    ['the page of a browser', TUNNEL_PATH, [TUNNEL_SUBPROTOCOL], { origin: 'https://example.com' }, 'Unexpected server response: 403'],
  ])('refuses %s', async (_, path, protocols, options, message) => {
    const socket = new WebSocket(new URL(path, url), protocols, options)
    const error = await new Promise<Error>((resolve) => {
      socket.on('error', resolve)
    })
    expect([error.message, taken.length]).toEqual([message, 0])
  })

  test('ends a WebSocket that sends text, or a message that is too large', async () => {
    for (const message of ['text', Buffer.alloc(1024 * 1024 + 1)]) {
      const socket = new WebSocket(new URL(TUNNEL_PATH, url), [TUNNEL_SUBPROTOCOL])
      socket.on('error', () => undefined)
      socket.on('open', () => socket.send(message))
      await within('its end', new Promise((resolve) => socket.on('close', resolve)))
    }
    expect(taken.length).toBe(2)
  })

  test('passes bytes on at the pace of the reader', async () => {
    const client = await dialWebSocket({ url, signal })
    closers.push(() => client.destroy())
    const server = taken[0]!
    server.pause()
    let accepted = 0
    const chunk = Buffer.alloc(64 * 1024)
    // Until nobody takes anything any more: sockets of this machine hold a few megabytes.
    while (accepted < 64 * 1024 * 1024) {
      const wasTaken = await Promise.race([
        new Promise<boolean>((resolve) => {
          client.write(chunk, () => resolve(true))
        }),
        new Promise<boolean>((resolve) => {
          setTimeout(resolve, 500, false)
        }),
      ])
      if (!wasTaken) break
      accepted += chunk.length
    }
    expect(accepted).toBeLessThan(32 * 1024 * 1024)
    let received = 0
    await new Promise<void>((resolve) => {
      server.on('data', (bytes: Buffer) => {
        received += bytes.length
        if (received === accepted + chunk.length) resolve()
      })
      server.resume()
    })
  })

  test('is given up when it does not open', async () => {
    const silent = createHttp()
    silent.on('upgrade', () => undefined)
    const port = await listen(silent)
    const trying = new AbortController()
    const dialling = dialWebSocket({ url: new URL(`ws://127.0.0.1:${port}`), signal: trying.signal })
    trying.abort()
    await expect(dialling).rejects.toMatchObject({ code: 'cancelled' })
    await expect(dialWebSocket({ url: new URL('ws://127.0.0.1:1'), signal })).rejects.toMatchObject({ code: 'unavailable' })
  })
})

test('an HTTP proxy that refuses is quoted, without the password', async () => {
  const { port } = await startHttpProxy()
  const proxy = new URL(`http://ana:wrong@127.0.0.1:${port}`)
  const failure: unknown = await dialWebSocket({ url: new URL('ws://127.0.0.1:9'), proxy, signal }).catch((thrown: unknown) => thrown)
  expect(failure).toMatchObject({
    code: 'unavailable',
    message: `the HTTP proxy http://127.0.0.1:${port} answered 407 to a connection to 127.0.0.1:9: it wants a name and a password, which belong into its URL`,
  })
  await expect(dialWebSocket({ url: new URL('ws://127.0.0.1:9'), proxy: new URL('socks5://127.0.0.1:1'), signal })).rejects.toMatchObject({
    code: 'invalid_argument',
  })
})

const certificates = selfSigned('outside', 'inside', 'agent', 'stranger')

describe.skipIf(!certificates)('a tunnel through an HTTP proxy and whoever ends the outer TLS', () => {
  const [outside, inside, agent, stranger] = certificates ?? []
  let proxy = new URL('http://127.0.0.1')
  let targets: string[] = []
  let url = new URL('wss://127.0.0.1')
  let accepted = Promise.withResolvers<TLSSocket>()

  beforeEach(async () => {
    accepted = Promise.withResolvers()
    accepted.promise.catch(() => undefined)
    const server = createHttps({ key: outside!.key, cert: outside!.cert })
    const inner = createInnerTls({
      credentials: { ...inside!, ca: [agent!.cert] },
      onSocket: (socket) => accepted.resolve(socket),
      onFault: (error) => accepted.reject(error),
    })
    server.on(
      'upgrade',
      acceptWebSockets((stream) => inner.accept(stream)),
    )
    url = new URL(`wss://localhost:${await listen(server)}`)
    const started = await startHttpProxy()
    targets = started.targets
    proxy = new URL(`http://ana:p%40ss%3Aw%C3%B6rd@127.0.0.1:${started.port}`)
  })

  const dial = async (own: { key: string; cert: string } | undefined, ca = inside!.cert): Promise<TLSSocket> => {
    const stream = await dialWebSocket({ url, proxy, signal, tls: { ca: [outside!.cert] } })
    closers.push(() => stream.destroy())
    return secureAsClient(stream, { ...own, ca, servername: 'localhost' }, realClock)
  }

  test('carries exchanges, knows the agent by its certificate, and fails what is under way when the connection is cut', async () => {
    const agentSocket = await dial(agent)
    const proxySocket = await accepted.promise
    expect([proxySocket.authorized, proxySocket.getPeerX509Certificate()?.subject, targets]).toEqual([true, 'CN=agent', [url.host]])

    const tunnel = openTunnel(proxySocket, { peer: 'the agent', clock: realClock })
    const served = serveTunnel(agentSocket, (exchange) => (exchange.path === '/never' ? undefined : echo(exchange)), {
      clock: realClock,
      log: silentLogger,
    })
    const body = Buffer.alloc(5_000_000, 'sallyport ')
    const [large, small, never] = [ask(tunnel.target, { body }), ask(tunnel.target, { text: 'hi' }), ask(tunnel.target, { path: '/never' })]
    await within('the answers', Promise.all([large.over, small.over]))
    expect([large.body.equals(body), small.body.toString(), never.status]).toEqual([true, 'hi', 0])

    agentSocket.destroy()
    await within('the error', never.over)
    expect([never.status, (await tunnel.closed)?.code, (await served.closed)?.code]).toEqual([503, 'unavailable', 'unavailable'])
  })

  test('shows that an agent has no certificate, or one of somebody else', async () => {
    await dial(undefined)
    expect((await accepted.promise).authorized).toBe(false)
    accepted = Promise.withResolvers()
    await dial(stranger)
    expect((await accepted.promise).authorized).toBe(false)
  })

  test('is not made with a proxy that has another certificate than the pinned one', async () => {
    await expect(dial(agent, stranger!.cert)).rejects.toMatchObject({ code: 'unavailable' })
    await expect(accepted.promise).rejects.toMatchObject({ code: 'unavailable' })
  })
})

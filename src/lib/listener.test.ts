import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, Agent, get } from 'node:http'
import type { ClientRequest, IncomingMessage, RequestOptions, Server } from 'node:http'
import { get as getTls } from 'node:https'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls, TLSSocket } from 'node:tls'
import type { ConnectionOptions } from 'node:tls'
import { afterEach, describe, expect, it } from 'vitest'
import { startListener } from './listener.ts'
import type { Listener, ListenerOptions, TlsCredentials } from './listener.ts'

const opened: Listener[] = []
const sockets: Socket[] = []
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  await Promise.all(opened.splice(0).map((listener) => listener.close()))
})

const certificates = createCertificates()

describe('plain', () => {
  it('is refused for a peer that may not, with the reason', async () => {
    const { port } = await start({ allowPlain: () => false })
    const { status, body } = await request({ port })
    expect([status, body]).toEqual([400, 'TLS required: this port speaks plain HTTP only on the machine itself. Use https:// instead.\n'])
  })

  it('is judged by the address of the peer', async () => {
    const asked: string[] = []
    const { port } = await start({ allowPlain: (address) => asked.push(address) > 0 })
    expect((await request({ port })).body).toBe('default')
    expect(asked).toEqual(['127.0.0.1'])
  })

  it('answers, several times on one connection, and a client that closes its half', async () => {
    const { port } = await start({})
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    expect([(await request({ port, agent })).body, (await request({ port, agent })).body]).toEqual(['default', 'default'])
    agent.destroy()
    const socket = open(port)
    socket.end('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
    expect(await readAll(socket)).toMatch(/\r\n\r\n7\r\ndefault\r\n|default$/)
  })
})

describe('bounds', () => {
  it('cuts whoever sends no first byte', async () => {
    const { port } = await start({ firstByteMs: 20 })
    expect(await readAll(open(port))).toBe('')
  })

  it('cuts whoever does not finish the handshake', async ({ skip }) => {
    if (!certificates) return skip('openssl is not installed')
    const { port } = await start({ tls: certificates.first, handshakeMs: 20 })
    const socket = open(port)
    socket.write(Buffer.from([0x16, 0x03]))
    expect(await readAll(socket)).toBe('')
  })

  it('lets the timeouts of servers work that do not listen themselves', async () => {
    const slow = server('slow', { headersTimeout: 20, requestTimeout: 20, connectionsCheckingInterval: 10 })
    const { port } = await start({ defaultServer: slow })
    const socket = open(port)
    socket.write('GET / HTTP/1.1\r\nx')
    expect(await readAll(socket)).toMatch(/^HTTP\/1.1 408 /)
  })

  it('takes no more connections than it may', async () => {
    const faults: string[] = []
    const { port } = await start({ maxConnections: 1, onFault: (error) => faults.push(error.message) })
    const first = open(port)
    await once(first, 'connect')
    expect(await readAll(open(port))).toBe('')
    expect(faults).toEqual(['more than 1 connections'])
  })

  it('survives garbage, resets and TLS where there is none', async () => {
    const { port } = await start({})
    for (const bytes of ['\u0016\u0003', '\u0000\u0000', 'GET', '']) {
      const socket = open(port)
      await once(socket, 'connect')
      socket.write(bytes)
      socket.resetAndDestroy()
    }
    const tls = open(port)
    tls.write(Buffer.from([0x16, 0x03, 0x01]))
    expect(await readAll(tls)).toBe('')
    expect((await request({ port })).body).toBe('default')
  })
})

describe.skipIf(!certificates)('TLS', () => {
  const { first, second, ca } = certificates ?? { first: { key: '', cert: '', ca: [] }, second: { key: '', cert: '', ca: [] }, ca: '' }

  it('answers beside plain HTTP on the same port', async () => {
    const { port } = await start({ tls: first })
    expect((await request({ port })).body).toBe('default')
    expect((await request({ port, ca, ALPNProtocols: ['http/1.1'] }, getTls)).body).toBe('http/1.1')
  })

  it('refuses versions below 1.2 and protocols nobody serves', async () => {
    const faults: string[] = []
    const { port } = await start({ tls: first, onFault: (error) => faults.push('code' in error ? String(error.code) : '') })
    await expect(handshake({ port, ca, maxVersion: 'TLSv1.1', minVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' })).rejects.toThrow()
    await expect(handshake({ port, ca, ALPNProtocols: ['h2'] })).rejects.toMatchObject({
      code: 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL',
    })
    expect(faults).toEqual(['ERR_SSL_UNSUPPORTED_PROTOCOL', 'ERR_SSL_NO_APPLICATION_PROTOCOL'])
  })

  it('routes by ALPN, and without it to the default', async () => {
    const { port } = await start({ tls: first })
    expect(await ask(await handshake({ port, ca, ALPNProtocols: ['sallyport-auth'] }))).toContain('auth')
    expect(await ask(await handshake({ port, ca, ALPNProtocols: ['http/1.1'] }))).toContain('http/1.1')
    expect(await ask(await handshake({ port, ca }))).toContain('default')
  })

  it('asks for a client certificate and shows the server whether it is trusted', async () => {
    const seen: unknown[] = []
    const looking = createServer((incoming, answer) => {
      const { socket } = incoming
      seen.push(socket instanceof TLSSocket && [socket.authorized, socket.getPeerCertificate().subject?.CN])
      answer.end()
    })
    const { port } = await start({ tls: first, defaultServer: looking })
    await ask(await handshake({ port, ca }))
    await ask(await handshake({ port, ca, key: second.key, cert: second.cert }))
    await ask(await handshake({ port, ca, key: first.key, cert: first.cert }))
    expect(seen).toEqual([
      [false, undefined],
      [false, 'second'],
      [true, 'first'],
    ])
  })

  it('resumes no session', async () => {
    const { port } = await start({ tls: first })
    for (const maxVersion of ['TLSv1.3', 'TLSv1.2'] as const) {
      let session: Buffer | undefined
      const before = await handshake({ port, ca, maxVersion })
      before.on('session', (latest) => (session = latest))
      await ask(before)
      const after = await handshake({ port, ca, maxVersion, session: session ?? before.getSession() })
      expect(after.isSessionReused()).toBe(false)
    }
  })

  it('shows a renewed certificate without a restart, and still asks for one', async () => {
    const { port, listener } = await start({ tls: first })
    const before = await handshake({ port, ca })
    listener.setTlsContext({ ...second, ca: [second.cert] })
    const after = await handshake({ port, ca: second.cert, key: second.key, cert: second.cert })
    expect([before.getPeerCertificate().subject.CN, after.getPeerCertificate().subject.CN]).toEqual(['first', 'second'])
    expect(await ask(before)).toContain('default')
    expect(await ask(after)).toContain('default')
  })
})

describe('addresses', () => {
  it('says who is in the way of a port', async () => {
    const { port } = await start({})
    await expect(start({ port })).rejects.toMatchObject({
      code: 'failed_precondition',
      message: `cannot listen on 127.0.0.1:${port}: another program listens there`,
      details: { address: `127.0.0.1:${port}`, fix: ['stop that program, or choose another port'] },
    })
    await expect(start({ port, setting: 'web_listen_addr' })).rejects.toMatchObject({
      details: { fix: ['stop that program, or choose another port: web_listen_addr'] },
    })
  })

  it('says that an address is not ours', async () => {
    await expect(start({ host: '192.0.2.1' })).rejects.toMatchObject({
      message: 'cannot listen on 192.0.2.1:0: this machine does not have that address',
    })
  })
})

describe('close', () => {
  it('lets a request finish, cuts silent and idle connections, and accepts no more', async () => {
    const { promise: asked, resolve: noteAsked } = Promise.withResolvers<void>()
    const { promise: gate, resolve: letGo } = Promise.withResolvers<void>()
    const waiting = createServer((_incoming, answer) => {
      noteAsked()
      void gate.then(() => answer.end('finished'))
    })
    const { port, listener } = await start({ defaultServer: waiting })
    const silent = open(port)
    await once(silent, 'connect')
    const answer = request({ port, agent: new Agent({ keepAlive: true }) })
    await asked
    const closed = listener.close({ graceMs: 10_000 })
    expect(await readAll(silent)).toBe('')
    await expect(request({ port })).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    letGo()
    expect((await answer).body).toBe('finished')
    await closed
  })

  it('cuts what does not finish in time', async () => {
    const { promise: asked, resolve: noteAsked } = Promise.withResolvers<void>()
    const { port, listener } = await start({ defaultServer: createServer(() => noteAsked()) })
    const answer = request({ port })
    const refused = expect(answer).rejects.toMatchObject({ code: 'ECONNRESET' })
    await asked
    await listener.close({ graceMs: 30 })
    await refused
    await listener.close()
  })
})

async function start(options: Partial<ListenerOptions>): Promise<{ listener: Listener; port: number }> {
  const listener = await startListener({
    host: '127.0.0.1',
    port: 0,
    servers: { 'http/1.1': server('http/1.1'), 'sallyport-auth': server('auth') },
    defaultServer: server('default'),
    allowPlain: () => true,
    ...options,
  })
  opened.push(listener)
  return { listener, port: listener.address().port }
}

function server(name: string, options: object = {}): Server {
  return createServer(options, (_incoming, answer) => answer.end(name))
}

function request(
  options: RequestOptions & ConnectionOptions,
  through: (options: RequestOptions, onAnswer: (answer: IncomingMessage) => void) => ClientRequest = get,
): Promise<{ status: number | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = through({ host: '127.0.0.1', agent: false, servername: 'localhost', ...options }, (incoming) => {
      let body = ''
      incoming
        .setEncoding('utf8')
        .on('data', (text: string) => (body += text))
        .on('error', reject)
      incoming.on('end', () => resolve({ status: incoming.statusCode, body }))
    })
    outgoing.on('error', reject)
  })
}

function open(port: number): Socket {
  const socket = connect({ host: '127.0.0.1', port })
  socket.on('error', () => {})
  sockets.push(socket)
  return socket
}

function handshake(options: ConnectionOptions): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ host: '127.0.0.1', servername: 'localhost', ...options }, () => resolve(socket))
    socket.on('error', reject)
    sockets.push(socket)
  })
}

/** One request on an open connection; the whole answer as text. */
async function ask(socket: Socket): Promise<string> {
  socket.write('GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n')
  return readAll(socket)
}

async function readAll(socket: Socket): Promise<string> {
  let text = ''
  socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  await once(socket, 'close')
  return text
}

/** Two self-signed certificates for localhost; undefined without openssl. */
function createCertificates(): { first: TlsCredentials; second: TlsCredentials; ca: string } | undefined {
  const directory = mkdtempSync(join(tmpdir(), 'listener-'))
  try {
    const [first, second] = ['first', 'second'].map((name) => {
      const [key, cert] = [join(directory, `${name}.key`), join(directory, `${name}.crt`)]
      const request = `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=${name}`
      const names = ['-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', key, '-out', cert]
      execFileSync('openssl', [...request.split(' '), ...names], { stdio: 'ignore' })
      return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') }
    })
    if (!first || !second) return undefined
    return { first: { ...first, ca: [first.cert] }, second: { ...second, ca: [first.cert] }, ca: first.cert }
  } catch (error) {
    console.warn(`TLS tests are skipped, openssl cannot be started: ${String(error)}`)
    return undefined
  } finally {
    rmSync(directory, { recursive: true })
  }
}

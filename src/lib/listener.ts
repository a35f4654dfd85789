import { constants } from 'node:crypto'
import type { Server as HttpServer } from 'node:http'
import { createServer as createNetServer } from 'node:net'
import type { Server as NetServer, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { createServer as createTlsServer } from 'node:tls'
import type { Server as TlsServer, TlsOptions, TLSSocket } from 'node:tls'
import { AppError } from './errors.ts'
import { WireServer } from './http-wire/server.ts'

export interface TlsCredentials {
  /** PEM. */
  key: string
  /** PEM, the chain from the leaf on. */
  cert: string
  /** PEM certificates that client certificates may be issued by. */
  ca: string[]
}

export interface ListenerOptions {
  host: string
  /** 0 takes any free port. */
  port: number
  /** How the address is set, for whoever has to choose another one. */
  setting?: string
  tls?: TlsCredentials | undefined
  /**
   * Who answers a TLS connection, by the protocol that ALPN (RFC 7301) agreed on; the order is our preference. A client that offers
   * protocols, but none of these, is refused. Their timeouts are the caller's; the servers must not listen
   * themselves and belong to this listener alone.
   */
  servers: Readonly<Record<string, HttpServer | WireServer>>
  /** Who takes a TLS connection of a protocol that is not HTTP, and has to end it. */
  sockets?: Readonly<Record<string, (socket: TLSSocket) => void>>
  /** The protocols of those above that are spoken within a stream, too; see `acceptStream`. */
  withinStreams?: readonly string[]
  /** Answers plain HTTP, and TLS connections of clients that offer no protocol. */
  defaultServer: HttpServer | WireServer
  /** Whether this peer may speak plain HTTP; everybody else gets a 400 that says why. */
  allowPlain: (remoteAddress: string) => boolean
  /** Told what went wrong on a single connection. */
  onFault?: (error: Error, remoteAddress: string | undefined) => void
  firstByteMs?: number
  handshakeMs?: number
  maxConnections?: number
}

export interface Listener {
  address(): { host: string; port: number }
  /** New connections see the renewed certificate; those that are open go on. */
  setTlsContext(credentials: TlsCredentials): void
  /**
   * Takes a stream, such as a WebSocket, as if it were a connection of its own: TLS, and by ALPN one of `options.withinStreams`.
   * Throws `failed_precondition` where there is no TLS.
   */
  acceptStream(stream: Duplex): void
  /** Accepts no more, lets the requests under way finish for at most `graceMs`, then cuts. Settles when every socket is gone. */
  close(options?: { graceMs?: number }): Promise<void>
}

/**
 * One TCP port for TLS and plain HTTP, told apart by the first byte. A client certificate is asked for, never required and not judged here:
 * the servers look at `socket.authorized` and the certificate. Throws `failed_precondition` when the address cannot be taken.
 */
export async function startListener(options: ListenerOptions): Promise<Listener> {
  const sockets: Sockets = { all: new Set(), silent: new Set() }
  const tlsServer = options.tls && startTls(options, options.tls, sockets)
  const within = options.tls && startTls(options, options.tls, sockets, options.withinStreams ?? [])
  // As http.Server does: a client may close its sending half and still read the answer.
  const server = createNetServer({ allowHalfOpen: true, noDelay: true, keepAlive: true }, (socket) =>
    accept(socket, options, tlsServer, sockets),
  )
  server.maxConnections = options.maxConnections ?? 10_000
  await listen(server, options)
  server.on('error', (error) => options.onFault?.(error, undefined))
  server.on('drop', (peer) => options.onFault?.(new Error(`more than ${server.maxConnections} connections`), peer?.remoteAddress))
  const answering = new Set([options.defaultServer, ...Object.values(options.servers)])
  const httpServers = new Set([...answering].map((one) => (one instanceof WireServer ? one.fallback : one)))
  // A server that does not listen itself does not watch its headersTimeout and requestTimeout until it hears this.
  for (const httpServer of httpServers) httpServer.emit('listening')
  return {
    address: () => addressOf(server),
    setTlsContext(credentials) {
      if (!tlsServer) throw new AppError('failed_precondition', 'this listener was started without TLS')
      tlsServer.setSecureContext(contextOptions(credentials))
      within?.setSecureContext(contextOptions(credentials))
    },
    acceptStream(stream) {
      if (!within) throw new AppError('failed_precondition', 'this listener was started without TLS')
      within.emit('connection', stream)
    },
    close: async ({ graceMs = 0 } = {}) => {
      await closeAll(server, new Set([...answering, ...httpServers]), sockets, graceMs)
      // Ends the watch over timeouts that 'listening' began.
      for (const httpServer of httpServers) httpServer.close(() => {})
    },
  }
}

const TLS_HANDSHAKE = 0x16
const FIRST_BYTE_MS = 10_000
const HANDSHAKE_MS = 10_000
const FAREWELL_MS = 1000
const BODY = 'TLS required: this port speaks plain HTTP only on the machine itself. Use https:// instead.\n'
const HEAD = `HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: ${BODY.length}\r\nconnection: close\r\n\r\n`

interface Sockets {
  all: Set<Socket>
  /** Those that have not sent a byte yet. */
  silent: Set<Socket>
}

function accept(socket: Socket, options: ListenerOptions, tlsServer: TlsServer | undefined, sockets: Sockets): void {
  const remote = socket.remoteAddress
  track(socket, sockets, (error) => options.onFault?.(error, remote))
  sockets.silent.add(socket)
  const deadline = setTimeout(() => socket.destroy(), options.firstByteMs ?? FIRST_BYTE_MS)
  const onClose = (): void => clearTimeout(deadline)
  socket.once('close', onClose)
  socket.once('readable', () => {
    clearTimeout(deadline)
    // The socket would keep the timer for as long as it is open.
    socket.off('close', onClose)
    sockets.silent.delete(socket)
    const chunk: unknown = socket.read()
    if (!(chunk instanceof Buffer) || remote === undefined) return void socket.destroy()
    socket.unshift(chunk)
    if (chunk[0] === TLS_HANDSHAKE) {
      socket.allowHalfOpen = false
      if (tlsServer) tlsServer.emit('connection', socket)
      else socket.destroy()
    } else if (options.allowPlain(remote)) hand(socket, options.defaultServer)
    else refusePlain(socket)
  })
}

function hand(socket: Socket, server: HttpServer | WireServer): void {
  if (server instanceof WireServer) server.accept(socket)
  else server.emit('connection', socket)
}

/** Says why, reads on for a moment (a reset would overtake the answer) and closes. */
function refusePlain(socket: Socket): void {
  socket.resume()
  socket.end(HEAD + BODY)
  const deadline = setTimeout(() => socket.destroy(), FAREWELL_MS)
  socket.once('close', () => clearTimeout(deadline))
}

/** @param only the protocols that are spoken; all, and HTTP for who offers none, unless given. */
function startTls(options: ListenerOptions, credentials: TlsCredentials, sockets: Sockets, only?: readonly string[]): TlsServer {
  const server = createTlsServer({
    ...contextOptions(credentials),
    requestCert: true,
    rejectUnauthorized: false,
    ALPNProtocols: [...(only ?? [...Object.keys(options.servers), ...Object.keys(options.sockets ?? {})])],
    handshakeTimeout: options.handshakeMs ?? HANDSHAKE_MS,
  })
  server.on('tlsClientError', (error, socket) => {
    options.onFault?.(error, socket.remoteAddress)
    socket.destroy()
  })
  server.on('secureConnection', (socket) => {
    const remote = socket.remoteAddress
    track(socket, sockets, (error) => options.onFault?.(error, remote))
    const agreed = socket.alpnProtocol
    if (only && (typeof agreed !== 'string' || !only.includes(agreed))) return void socket.destroy()
    const take =
      typeof agreed === 'string' && options.sockets && Object.hasOwn(options.sockets, agreed) ? options.sockets[agreed] : undefined
    if (take) return take(socket)
    const chosen = typeof agreed === 'string' && Object.hasOwn(options.servers, agreed) ? options.servers[agreed] : undefined
    hand(socket, chosen ?? options.defaultServer)
  })
  return server
}

/** Sessions are not resumed: every connection proves its certificate anew, against the authorities trusted now. */
function contextOptions({ key, cert, ca }: TlsCredentials): TlsOptions {
  return { key, cert, ca, minVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_NO_TICKET }
}

/** Every socket has an error listener for its whole life: a peer that vanishes must not end the process. */
function track(socket: Socket, { all, silent }: Sockets, onError: (error: Error) => void): void {
  all.add(socket)
  socket.on('error', onError)
  socket.once('close', () => {
    all.delete(socket)
    silent.delete(socket)
  })
}

async function listen(server: NetServer, { host, port, setting }: ListenerOptions): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject)
  server.listen({ host, port }, resolve)
  try {
    await promise
  } catch (cause) {
    throw refusal(cause, `${host.includes(':') ? `[${host}]` : host}:${port}`, setting)
  }
  server.off('error', reject)
}

const REFUSALS: Record<string, [why: string, fix: string]> = {
  EADDRINUSE: ['another program listens there', 'stop that program, or choose another port'],
  EACCES: ['this account may not use that port', 'choose a port from 1024 on'],
  EADDRNOTAVAIL: ['this machine does not have that address', 'choose one of its own, or 0.0.0.0 for all'],
  ENOTFOUND: ['there is no host of that name', 'choose an address of this machine'],
}

function refusal(cause: unknown, address: string, setting: string | undefined): unknown {
  const row = cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? REFUSALS[cause.code] : undefined
  if (!row) return cause
  const [why, remedy] = row
  const fix = setting === undefined ? remedy : `${remedy}: ${setting}`
  return new AppError('failed_precondition', `cannot listen on ${address}: ${why}`, { cause, details: { address, fix: [fix] } })
}

function addressOf(server: NetServer): { host: string; port: number } {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new AppError('failed_precondition', 'the listener is closed')
  return { host: address.address, port: address.port }
}

const IDLE_CHECK_MS = 25

async function closeAll(
  server: NetServer,
  answering: Set<HttpServer | WireServer>,
  { all, silent }: Sockets,
  graceMs: number,
): Promise<void> {
  const closed = server.listening ? new Promise<void>((resolve) => server.close(() => resolve())) : Promise.resolve()
  for (const socket of silent) socket.destroy()
  for (let waited = 0; all.size > 0 && waited < graceMs; waited += IDLE_CHECK_MS) {
    // Kept-alive connections become idle one by one, as their last answer goes out.
    for (const one of answering) one.closeIdleConnections()
    await delay(Math.min(IDLE_CHECK_MS, graceMs - waited))
  }
  const remaining = [...all].map((socket) => new Promise<void>((resolve) => socket.once('close', () => resolve())))
  for (const socket of all) socket.destroy()
  await Promise.all(remaining)
  await closed
}

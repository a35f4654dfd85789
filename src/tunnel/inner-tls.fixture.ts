import type { Duplex } from 'node:stream'
import { connect, createServer } from 'node:tls'
import type { ConnectionOptions, TLSSocket } from 'node:tls'
import { AppError } from '../lib/errors.ts'
import type { TlsCredentials } from '../lib/listener.ts'
import type { Clock } from './clock.ts'

/** Of ALPN (RFC 7301), on a connection of its own as well as within a WebSocket. */
export const TUNNEL_ALPN = 'sallyport-tunnel'

const HANDSHAKE_MS = 10_000

/**
 * TLS as the client over any stream of bytes. Verified as `tls.connect` does, by the options.
 * @throws AppError unavailable, deadline_exceeded; the stream is destroyed then.
 */
export async function secureAsClient(stream: Duplex, options: ConnectionOptions, clock: Clock): Promise<TLSSocket> {
  const socket = connect({ minVersion: 'TLSv1.3', ALPNProtocols: [TUNNEL_ALPN], ...options, socket: stream })
  endTogether(socket, stream)
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const cancel = clock.after(HANDSHAKE_MS, () => reject(new AppError('deadline_exceeded', 'the TLS handshake took too long')))
  socket.on('error', (cause) => reject(failed(cause)))
  socket.once('close', () => reject(failed(undefined)))
  socket.once('secureConnect', () => (socket.alpnProtocol === TUNNEL_ALPN ? resolve() : reject(otherProtocol())))
  try {
    await promise
  } catch (thrown) {
    socket.destroy()
    stream.destroy()
    throw thrown
  } finally {
    cancel()
  }
  return socket
}

export interface InnerTlsOptions {
  credentials: TlsCredentials
  /**
   * A client certificate was asked for; whether there is one that was issued by `ca` (`authorized`), and whose it is
   * (`getPeerX509Certificate`), is for this to look at.
   */
  onSocket(socket: TLSSocket): void
  /** A handshake came to nothing. */
  onFault(error: AppError): void
}

/** TLS as the server over any streams of bytes. */
export interface InnerTls {
  accept(stream: Duplex): void
  /** New streams see the renewed certificate; those that are open go on. */
  setTlsContext(credentials: TlsCredentials): void
}

export function createInnerTls({ credentials, onSocket, onFault }: InnerTlsOptions): InnerTls {
  // It never listens: a server, because only that one judges the certificates of its clients.
  const server = createServer({
    ...contextOf(credentials),
    requestCert: true,
    rejectUnauthorized: false,
    ALPNProtocols: [TUNNEL_ALPN],
    handshakeTimeout: HANDSHAKE_MS,
  })
  server.on('secureConnection', (socket) => {
    if (socket.alpnProtocol === TUNNEL_ALPN) return onSocket(socket)
    socket.destroy()
    onFault(otherProtocol())
  })
  server.on('tlsClientError', (cause, socket) => {
    socket.destroy()
    onFault(failed(cause))
  })
  return {
    accept: (stream) => {
      stream.on('error', () => stream.destroy())
      server.emit('connection', stream)
    },
    setTlsContext: (renewed) => server.setSecureContext(contextOf(renewed)),
  }
}

function contextOf({ key, cert, ca }: TlsCredentials) {
  return { key, cert, ca, minVersion: 'TLSv1.3' } as const
}

/** Node tells a TLS socket over a stream that is no socket nothing of the end of that stream. */
function endTogether(socket: TLSSocket, stream: Duplex): void {
  stream.on('error', () => stream.destroy())
  stream.once('close', () => socket.destroy())
  socket.once('close', () => stream.destroy())
}

function failed(cause: Error | undefined): AppError {
  return new AppError('unavailable', `the TLS handshake failed: ${cause?.message ?? 'the connection ended'}`, { cause })
}

function otherProtocol(): AppError {
  return new AppError('unavailable', `the other end does not speak ${TUNNEL_ALPN}`)
}

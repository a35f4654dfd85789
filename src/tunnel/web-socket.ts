import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import { WebSocket, WebSocketServer, createWebSocketStream } from 'ws'
import { AppError } from '../lib/errors.ts'
import { connectThroughProxy } from './http-connect.ts'

/** Where a proxy takes tunnels in WebSockets. */
export const TUNNEL_PATH = '/v1/tunnel'
export const TUNNEL_SUBPROTOCOL = 'sallyport-tunnel-1'

const HANDSHAKE_MS = 10_000
/** Of a message; both ends write less at a time. */
const MAX_MESSAGE_BYTES = 1024 * 1024
/** Pings of the other end are not answered while it takes so little. */
const MAX_UNSENT_BYTES = 64 * 1024

export interface DialWebSocketOptions {
  /** `wss://HOST:PORT` of the Proxy Service, or `ws://`; the path is ours. */
  url: URL
  /** The HTTP proxy on the way there, if there is one. */
  proxy?: URL | undefined
  /** How long to try; of no effect once it is open. */
  signal: AbortSignal
  /** Of the outer TLS only: whoever ends it sees nothing of the tunnel, which has TLS of its own. */
  tls?: { ca?: string[]; rejectUnauthorized?: boolean; servername?: string }
}

/**
 * A stream of bytes in one WebSocket, for where only HTTPS passes.
 * @throws AppError unavailable, cancelled; whatever was opened is closed then.
 */
export async function dialWebSocket(options: DialWebSocketOptions): Promise<Duplex> {
  const { url, proxy, signal, tls } = options
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  const isTls = url.protocol === 'wss:' || url.protocol === 'https:'
  const port = url.port === '' ? (isTls ? 443 : 80) : Number(url.port)
  const raw = proxy && (await connectThroughProxy({ proxy, host, port, signal, ...(tls?.ca && { ca: tls.ca }) }))
  const through = raw && (() => (isTls ? connectTls({ socket: raw, servername: host, ALPNProtocols: ['http/1.1'], ...tls }) : raw))
  const place = new URL(TUNNEL_PATH, `${isTls ? 'wss' : 'ws'}://${url.host}`)
  const webSocket = new WebSocket(place, [TUNNEL_SUBPROTOCOL], {
    perMessageDeflate: false,
    maxPayload: MAX_MESSAGE_BYTES,
    handshakeTimeout: HANDSHAKE_MS,
    autoPong: false,
    ...tls,
    ...(through && { createConnection: through }),
  })
  try {
    await opened(webSocket, signal)
  } catch (thrown) {
    raw?.destroy()
    throw thrown
  }
  return streamOf(webSocket)
}

/** Takes the WebSockets of agents: a listener for `upgrade` of an HTTP server whose requests for other paths are refused. */
export function acceptWebSockets(
  onStream: (stream: Duplex, request: IncomingMessage) => void,
): (request: IncomingMessage, socket: Duplex, head: Buffer) => void {
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: MAX_MESSAGE_BYTES,
    autoPong: false,
    handleProtocols: () => TUNNEL_SUBPROTOCOL,
  })
  return (request, socket, head) => {
    const refusal = refusalOf(request)
    if (refusal) return refuse(socket, refusal)
    server.handleUpgrade(request, socket, head, (webSocket) => onStream(streamOf(webSocket), request))
  }
}

function opened(webSocket: WebSocket, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const onAbort = (): void => {
    webSocket.terminate()
    reject(new AppError('cancelled', 'the WebSocket was given up before it opened'))
  }
  // Also after it is open: an error that nobody hears would end the process.
  webSocket.on('error', (cause) => reject(new AppError('unavailable', `no WebSocket: ${cause.message}`, { cause })))
  webSocket.once('open', resolve)
  if (signal.aborted) onAbort()
  else signal.addEventListener('abort', onAbort)
  return promise.finally(() => signal.removeEventListener('abort', onAbort))
}

function streamOf(webSocket: WebSocket): Duplex {
  webSocket.on('message', (_, isBinary) => {
    if (!isBinary) webSocket.terminate()
  })
  webSocket.on('ping', (payload: Buffer) => {
    if (webSocket.bufferedAmount < MAX_UNSENT_BYTES) webSocket.pong(payload)
  })
  const stream = createWebSocketStream(webSocket)
  // Whoever uses it listens too; between two users an error must not end the process.
  stream.on('error', () => undefined)
  // A WebSocket is closed in both directions at once, which TLS within would not learn from the end of one.
  stream.once('end', () => stream.destroy())
  return stream
}

interface Refusal {
  status: string
  says: string
}

function refusalOf({ url, headers }: IncomingMessage): Refusal | undefined {
  if (url !== TUNNEL_PATH) return { status: '404 Not Found', says: 'no WebSocket is served here' }
  // Pages of browsers have no business here, and their WebSockets say where they come from (RFC 6455 §4.1).
  if (headers.origin !== undefined) return { status: '403 Forbidden', says: 'tunnels are not for browsers' }
  const offered = (headers['sec-websocket-protocol'] ?? '').split(',').map((word) => word.trim())
  if (!offered.includes(TUNNEL_SUBPROTOCOL)) return { status: '400 Bad Request', says: `the subprotocol must be ${TUNNEL_SUBPROTOCOL}` }
  return undefined
}

function refuse(socket: Duplex, { status, says }: Refusal): void {
  const body = `${says}\n`
  socket.on('error', () => socket.destroy())
  socket.on('finish', () => socket.destroy())
  socket.end(`HTTP/1.1 ${status}\r\ncontent-type: text/plain\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`)
}

import { type Server, createServer as createHttp } from 'node:http'
import { createSecureServer as createHttp2 } from 'node:http2'
import { createServer as createHttps } from 'node:https'
import type { Readable } from 'node:stream'
import { createServer as createTls } from 'node:tls'
import { silentLogger } from '../src/lib/log.ts'
import { serveTunnel } from '../src/tunnel/agent-tunnel.ts'
import { realClock } from '../src/tunnel/clock.ts'
import type { Exchange } from '../src/tunnel/exchange.ts'
import { TUNNEL_ALPN, createInnerTls } from '../src/tunnel/inner-tls.fixture.ts'
import { acceptWebSockets } from '../src/tunnel/web-socket.ts'
import { answerTo } from './echo.ts'
import { listenAndTell } from './tell.ts'
import { readCarrier, readTls } from './tunnel-carrier.ts'

/** The agent and the MCP server behind it in one. It listens, where a real agent dials: for the bytes that makes no difference. */
const tls = readTls(process.argv[3])

function serve({ answer, body }: Exchange): void {
  const bytes = Buffer.from(answerTo(body.toString('utf8')))
  answer.head(200, { 'content-type': 'application/json', 'content-length': String(bytes.length) })
  answer.end(bytes)
}

const onTunnel = (socket: Parameters<typeof serveTunnel>[0]): void => {
  serveTunnel(socket, serve, { clock: realClock, log: silentLogger })
}

function onRequest(request: Readable, response: HttpResponse): void {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const answer = Buffer.from(answerTo(Buffer.concat(chunks).toString('utf8')))
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': String(answer.length) })
    response.end(answer)
  })
}

/** Of node:http and of node:http2. */
interface HttpResponse {
  writeHead(status: number, headers: Record<string, string>): unknown
  end(body: Buffer): unknown
}

function createWebSocketServer(): Server {
  const inner = createInnerTls({
    credentials: { key: tls.key, cert: tls.cert, ca: tls.ca },
    onSocket: onTunnel,
    onFault: (error) => process.stderr.write(`${error.message}\n`),
  })
  return createHttp().on(
    'upgrade',
    acceptWebSockets((stream) => inner.accept(stream)),
  )
}

const carrier = readCarrier(process.argv[2])
const asked = { ...tls, requestCert: true }
if (carrier === 'direct') listenAndTell(createHttps({ ...asked, keepAliveTimeout: 0 }, onRequest))
else if (carrier === 'http2') listenAndTell(createHttp2({ ...asked, settings: { initialWindowSize: 1024 * 1024 } }, onRequest))
else if (carrier === 'websocket') listenAndTell(createWebSocketServer())
else listenAndTell(createTls({ ...asked, ALPNProtocols: [TUNNEL_ALPN] }, (socket) => onTunnel(socket.setNoDelay(true))))

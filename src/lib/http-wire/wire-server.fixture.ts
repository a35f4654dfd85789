import { once } from 'node:events'
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { BodyRoom } from '../body-room.ts'
import type { AppError } from '../errors.ts'
import type { HttpExchange } from '../http-exchange.ts'
import { WireServer } from './server.ts'

/** A regular expression, for example. */
type Until = { test(received: string): boolean }

export interface WireServerFixture {
  server: WireServer
  port: number
  clock: { ms: number }
  /** What was answered here, oldest first, as `method path body`. */
  served: string[]
  exchanges: HttpExchange[]
  /** What the other server got, as `method url body`. */
  fallen: string[]
  /** Answers `answer N` unless it is set. */
  onExchange: (exchange: HttpExchange) => void
  /** Of the server, in the order of their connections. */
  sockets: Socket[]
  /** How many bodies were waited for. */
  waits: number
  /** Something to wait for before a body is read. */
  admission: Promise<AppError | undefined> | undefined
  /** Of large bodies. */
  room: BodyRoom
  /** What comes back when all of `pieces` was sent, each in a write of its own, until the server ends or `until` matches. */
  send(pieces: readonly (string | Buffer)[], until?: Until): Promise<string>
  close(): Promise<void>
}

/** A server that answers what begins with `/mcp`, in front of an http.Server that answers all else. */
export async function startWireServer(): Promise<WireServerFixture> {
  const sockets: Socket[] = []
  const fallback = createHttpServer((request: IncomingMessage, response: ServerResponse) => {
    buffer(request).then(
      (body) => {
        fixture.fallen.push(`${request.method} ${request.url} ${body.toString('latin1')}`)
        response.end('fallen')
      },
      () => undefined,
    )
  })
  fallback.on('clientError', (error, socket) => socket.end(`HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n${error.message}`))
  const clock = { ms: 0 }
  const room = new BodyRoom(1_000_000)
  const server = new WireServer({
    room,
    route: (head) =>
      head.target.startsWith('/mcp')
        ? {
            headers: head.headers,
            isCurrent: () => true,
            maxBodyBytes: 100_000,
            admit: () => {
              fixture.waits += 1
              return fixture.admission
            },
            sender: () => head.target,
            serve: (exchange) => {
              fixture.exchanges.push(exchange)
              fixture.served.push(`${exchange.method} ${exchange.path} ${exchange.body.toString('latin1')}`)
              fixture.onExchange(exchange)
            },
            refuse: ({ answer, body }, { message }) => {
              answer.head(403, {})
              answer.end(Buffer.from(`${message} ${body.length}`))
            },
          }
        : undefined,
    fallback,
    monotonic: () => clock.ms,
    now: () => Date.parse('2027-01-01T00:00:00Z'),
  })
  const listening = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.push(socket)
    socket.on('error', () => undefined)
    server.accept(socket)
  })
  listening.listen(0, '127.0.0.1')
  await once(listening, 'listening')
  // A listening TCP server has an address with a port.
  const { port } = listening.address() as AddressInfo
  const fixture: WireServerFixture = {
    server,
    port,
    clock,
    served: [],
    exchanges: [],
    fallen: [],
    sockets,
    waits: 0,
    admission: undefined,
    room,
    onExchange: ({ answer }) => {
      answer.head(200, { 'content-type': 'text/plain' })
      answer.end(Buffer.from(`answer ${fixture.served.length}`))
    },
    send: (pieces, until) => exchangeBytes(port, pieces, until),
    close: async () => {
      for (const socket of sockets) socket.destroy()
      listening.close()
      await once(listening, 'close')
    },
  }
  return fixture
}

async function exchangeBytes(port: number, pieces: readonly (string | Buffer)[], until: Until | undefined): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  const over = Promise.withResolvers<void>()
  let received = ''
  socket.on('error', () => over.resolve())
  socket.on('close', () => over.resolve())
  socket.on('data', (chunk: Buffer) => {
    received += chunk.toString('latin1')
    if (until?.test(received)) over.resolve()
  })
  for (const piece of pieces) {
    await new Promise((resolve) => socket.write(piece, resolve))
    // The kernel may join what is written without a pause; then this test sees less, and is still right.
    await new Promise((resolve) => setImmediate(resolve))
  }
  await over.promise
  socket.destroy()
  return received
}

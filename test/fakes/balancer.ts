import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer as createHttpServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { connect, createServer, type Socket } from 'node:net'
import { pipeline } from 'node:stream'

/** A load balancer in front of several replicas: another one for every request of plain HTTP, and for every connection of anything else. */
export interface Balancer {
  port: number
  /** Ports of the replicas. */
  targets: number[]
  /** Which of so many replicas is next; `session` is the id of the MCP session that a request belongs to. */
  choose: (count: number, session?: string) => number
  /** Which replica had each request or connection, in order. */
  readonly chosen: number[]
  close(): Promise<void>
}

/** The next one each time. */
export function inTurn(): Balancer['choose'] {
  let turn = 0
  return (count) => turn++ % count
}

/** Any, but the same ones in each run (xorshift). */
export function atRandom(seed: number): Balancer['choose'] {
  let state = seed
  return (count) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return Math.abs(state) % count
  }
}

/** What belongs to an MCP session goes to one replica, the rest to the next one each time. */
export function bySession(): Balancer['choose'] {
  const next = inTurn()
  return (count, session) => (session === undefined ? next(count) : createHash('sha256').update(session).digest().readUInt32BE() % count)
}

const TLS_HANDSHAKE = 0x16

export async function startBalancer(): Promise<Balancer> {
  const sockets = new Set<Socket>()
  const next = (session?: string): number => {
    const index = balancer.choose(balancer.targets.length, session)
    balancer.chosen.push(index)
    return balancer.targets[index] ?? 0
  }
  const http = createHttpServer((incoming, response) => forward(incoming, response, next(sessionOf(incoming))))
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => socket.destroy()).on('close', () => sockets.delete(socket))
    socket.once('readable', () => {
      const first: Buffer | null = socket.read()
      if (!first) return
      socket.unshift(first)
      if (first[0] !== TLS_HANDSHAKE) return void http.emit('connection', socket)
      const target = connect(next(), '127.0.0.1')
      pipeline(socket, target, () => target.destroy())
      pipeline(target, socket, () => socket.destroy())
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const balancer: Balancer = {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    targets: [],
    choose: inTurn(),
    chosen: [],
    async close() {
      server.close()
      for (const socket of sockets) socket.destroy()
      await once(server, 'close')
    },
  }
  return balancer
}

function sessionOf({ headers }: IncomingMessage): string | undefined {
  const id = headers['mcp-session-id']
  return typeof id === 'string' ? id : undefined
}

/** One request, to one replica; its end is ours when it breaks off. */
function forward(incoming: IncomingMessage, response: ServerResponse, port: number): void {
  const { method, url, rawHeaders } = incoming
  const outgoing = request({ host: '127.0.0.1', port, method, path: url, headers: rawHeaders, setHost: false, agent: false })
  outgoing.on('response', (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.rawHeaders)
    response.flushHeaders()
    pipeline(answer, response, () => {})
  })
  outgoing.on('error', () => (response.headersSent ? response.destroy() : response.writeHead(502).end()))
  response.on('close', () => outgoing.destroy())
  pipeline(incoming, outgoing, () => {})
}

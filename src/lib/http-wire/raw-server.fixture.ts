import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import type { Receiver } from './exchange.ts'

/** A server that writes what a test tells it to. */
export interface RawServer {
  origin: URL
  /** The next connection that nobody took yet. */
  accept(): Promise<RawPeer>
  /** How many connections there were. */
  readonly accepted: number
  close(): Promise<void>
}

export interface RawPeer {
  socket: Socket
  /** Everything received so far, as soon as `text` is in what came after the last call. */
  receive(text: string): Promise<string>
  write(text: string): void
  /** Settles when the connection is over. */
  closed: Promise<unknown>
}

export async function startRawServer(host = '127.0.0.1'): Promise<RawServer> {
  const waiting: RawPeer[] = []
  const takers: ((peer: RawPeer) => void)[] = []
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(socket)
    const peer = createPeer(socket)
    const taker = takers.shift()
    if (taker) taker(peer)
    else waiting.push(peer)
  })
  server.listen(0, host)
  await once(server, 'listening')
  // A listening TCP server has an address with a port.
  const { port } = server.address() as AddressInfo
  return {
    origin: new URL(`http://${host.includes(':') ? `[${host}]` : host}:${port}`),
    accept() {
      const peer = waiting.shift()
      return peer ? Promise.resolve(peer) : new Promise((resolve) => takers.push(resolve))
    },
    get accepted() {
      return sockets.size
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

function createPeer(socket: Socket): RawPeer {
  let received = ''
  let seen = 0
  let wake: (() => void) | undefined
  socket.on('data', (bytes: Buffer) => {
    received += bytes.toString('latin1')
    wake?.()
  })
  socket.on('end', () => wake?.())
  socket.on('error', () => undefined) // `closed` tells
  return {
    socket,
    async receive(text) {
      for (let at = received.indexOf(text, seen); ; at = received.indexOf(text, seen)) {
        if (at >= 0) {
          seen = at + text.length
          return received
        }
        await new Promise<void>((resolve) => (wake = resolve))
      }
    },
    write: (text) => void socket.write(text, 'latin1'),
    closed: new Promise((resolve) => {
      socket.once('end', resolve)
      socket.once('close', resolve)
    }),
  }
}

/** What a receiver was told, as words in order. */
export interface Told {
  receiver: Receiver
  /** `200`, the bytes of data as one word each run, `end` or the code of the fault. */
  words: string[]
  /** All data so far. */
  readonly body: string
  headed: Promise<void>
  /** Settles at the end or with a fault. */
  over: Promise<string[]>
}

export function listen(on: { head?: () => void; data?: () => void; end?: () => void } = {}): Told {
  const words: string[] = []
  const over = Promise.withResolvers<string[]>()
  const headed = Promise.withResolvers<void>()
  let body = ''
  const told = (word: string): void => {
    words.push(word)
    over.resolve(words)
  }
  return {
    words,
    headed: headed.promise,
    over: over.promise,
    get body() {
      return body
    },
    receiver: {
      onHead(status) {
        words.push(String(status))
        headed.resolve()
        on.head?.()
      },
      onData(chunk) {
        body += chunk.toString('latin1')
        on.data?.()
      },
      onEnd() {
        told('end')
        on.end?.()
      },
      onFault: (error) => told('code' in error ? String(error.code) : error.message),
    },
  }
}

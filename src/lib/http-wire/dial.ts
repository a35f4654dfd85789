import { connect as connectTcp, isIP } from 'node:net'
import type { OnReadOpts, Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { ReadMemory } from './read-memory.ts'

export interface DialOptions {
  /** `http:` or `https:`; the rest of the URL is not looked at. */
  origin: URL
  rejectUnauthorized: boolean
  memory: ReadMemory
}

/** Begins connections. */
export interface Dialler {
  readonly isTls: boolean
  /** `onBytes` gets what is read, in memory that is read into again as soon as it returns, unless it says that somebody keeps it. */
  dial(onBytes: (bytes: Buffer) => boolean): Dialled
}

/** A connection that is being made. */
export interface Dialled {
  socket: Socket
  /** What the socket emits when a request can be written: with TLS not before the server's certificate was accepted. */
  openEvent: 'connect' | 'secureConnect'
}

const KEEP_ALIVE_PROBE_MS = 60_000

/** Connects to one origin; a TLS session is taken up again where the server allows it. */
export function createDialler({ origin, rejectUnauthorized, memory }: DialOptions): Dialler {
  const isTls = origin.protocol === 'https:'
  const host = origin.hostname.replace(/^\[(.*)\]$/, '$1')
  const port = origin.port === '' ? (isTls ? 443 : 80) : Number(origin.port)
  const tcp = { host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_PROBE_MS }
  const named = isIP(host) === 0 ? { servername: host } : {}
  let session: Buffer | undefined

  const dialTls = (onread: OnReadOpts): Socket => {
    const secure = { ...tcp, ...named, ...(session && { session }), rejectUnauthorized, ALPNProtocols: ['http/1.1'], onread }
    const socket = connectTls(secure)
    socket.setNoDelay(true).setKeepAlive(true, KEEP_ALIVE_PROBE_MS)
    let isAccepted = false
    socket.once('secureConnect', () => (isAccepted = true))
    // The name in the certificate is not looked at again when a session is resumed: only those of accepted servers may be.
    socket.on('session', (bytes: Buffer) => {
      if (isAccepted) session = bytes
    })
    return socket
  }
  return {
    isTls,
    dial(onBytes) {
      const onread = readInto(memory, onBytes)
      if (isTls) return { socket: dialTls(onread), openEvent: 'secureConnect' }
      return { socket: connectTcp({ ...tcp, onread }), openEvent: 'connect' }
    },
  }
}

/** A buffer for each connection rather than for each read, which is most of what the garbage collector would have to do. */
function readInto(memory: ReadMemory, onBytes: (bytes: Buffer) => boolean): OnReadOpts {
  let buffer = memory.take()
  return {
    // Asked for at first, and after each read.
    buffer: () => buffer,
    callback(count) {
      if (onBytes(buffer.subarray(0, count))) {
        memory.lend(buffer)
        buffer = memory.take()
      }
      return true
    },
  }
}

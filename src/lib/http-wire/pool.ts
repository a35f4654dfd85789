import { Connection } from './connection.ts'
import { createDialler } from './dial.ts'
import type { DialOptions } from './dial.ts'
import type { Exchange, Receiver, WireRequest } from './exchange.ts'
import { createReadMemory } from './read-memory.ts'
import { WireFault } from './wire-fault.ts'

export interface PoolOptions extends Omit<DialOptions, 'memory'> {
  maxConnections: number
  connectTimeoutMs: number
  /** From the request written to the whole head of its answer. */
  headersTimeoutMs: number
  /** How long a connection may be idle when the server does not say; 4 seconds, as most servers wait 5. */
  idleMs?: number
  now: () => number
}

/** The connections to one origin. */
export interface Pool {
  /**
   * Sends a request at once, over the connection that was idle last or over a new one.
   * It is never sent twice: a server that closes a connection it was read from may have done what it was asked.
   *
   * @throws WireFault WIRE_FULL or WIRE_SHUT; what happens later goes to the receiver
   */
  send(request: WireRequest, receiver: Receiver): Exchange
  /** Ends what is too old or too slow, by `now`. To be called about as often as the shortest limit asks for. */
  sweep(): void
  /** How many connections there are, those being made included. */
  readonly size: number
  /** Ends all connections; exchanges under way fail with WIRE_SHUT. */
  close(): void
}

const IDLE_MS = 4000

export function createPool(options: PoolOptions): Pool {
  const all = new Set<Connection>()
  /** The one that was used last comes last, and is used first: the others can grow old. */
  const idle: Connection[] = []
  const memory = createReadMemory()
  let isShut = false

  const connectionOptions = {
    dialler: createDialler({ ...options, memory }),
    memory,
    connectTimeoutMs: options.connectTimeoutMs,
    headersTimeoutMs: options.headersTimeoutMs,
    idleMs: options.idleMs ?? IDLE_MS,
    now: options.now,
    onIdle: (connection: Connection) => void idle.push(connection),
    onGone(connection: Connection) {
      all.delete(connection)
      const at = idle.lastIndexOf(connection)
      if (at >= 0) idle.splice(at, 1)
    },
  }
  const reuse = (request: WireRequest, receiver: Receiver): Exchange | undefined => {
    for (let connection = idle.pop(); connection; connection = idle.pop()) {
      if (connection.isUsable()) {
        const exchange = connection.send(request, receiver)
        if (exchange) return exchange
      } else connection.close(new WireFault('WIRE_CLOSED', 'the idle connection is of no use any more'))
    }
    return undefined
  }
  const open = (request: WireRequest, receiver: Receiver): Exchange => {
    if (all.size >= options.maxConnections)
      throw new WireFault('WIRE_FULL', `all ${options.maxConnections} connections to the server are in use`)
    const connection = new Connection(connectionOptions)
    all.add(connection)
    const exchange = connection.send(request, receiver)
    if (!exchange) throw new WireFault('WIRE_CLOSED', 'a new connection took no request')
    return exchange
  }

  return {
    send(request, receiver) {
      if (isShut) throw new WireFault('WIRE_SHUT', 'the connections to the server were closed')
      return reuse(request, receiver) ?? open(request, receiver)
    },
    sweep() {
      for (const connection of all) connection.sweep()
      memory.sweep()
    },
    get size() {
      return all.size
    },
    close() {
      isShut = true
      for (const connection of all) connection.close(new WireFault('WIRE_SHUT', 'the connections to the server were closed'))
    },
  }
}

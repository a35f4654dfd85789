import type { Server as HttpServer } from 'node:http'
import type { Socket } from 'node:net'
import type { BodyRoom } from '../body-room.ts'
import { Roster } from '../roster.ts'
import type { PlainRequest } from './plain-request.ts'
import { renderField } from './request-head.ts'
import { type ConnectionHost, type Route, ServerConnection } from './server-connection.ts'
import type { WireAnswer } from './wire-answer.ts'

export interface WireServerOptions {
  /** Undefined for what `fallback` answers. Kept for the same head on the same connection while it is current. */
  route(head: PlainRequest, socket: Socket): Route | undefined
  /** Takes over the connections of all other requests for good, with what was read of them; it must not listen itself. */
  fallback: HttpServer
  /** Of all requests that it answers, and others. */
  room: BodyRoom
  /** Milliseconds of a clock that nobody sets. */
  monotonic: () => number
  /** Of day. */
  now: () => number
}

/**
 * A server of HTTP/1.1 for the requests that come most, in the form in which they mostly come: the rest is the fallback's, so that nothing
 * needs to be right in two places. Nothing of it is a stream or an event of its own: see decision 13.
 */
export class WireServer implements ConnectionHost {
  readonly #options: WireServerOptions
  readonly #connections = new Roster<ServerConnection>()
  #sweeping: NodeJS.Timeout | undefined
  #date = ''
  /** Answers with something to send at the end of this turn of the loop. */
  readonly #waiting: WireAnswer[] = []
  readonly #flush = (): void => {
    for (const answer of this.#waiting.splice(0)) answer.flush()
  }
  /** By name, with the value that was rendered last: few headers have another each time. */
  readonly #lines = new Map<string, { value: string; line: string }>()
  /** As it was at the last sweep: nobody here needs to know it better. */
  clockMs: number

  constructor(options: WireServerOptions) {
    this.#options = options
    this.clockMs = options.monotonic()
  }

  get room(): BodyRoom {
    return this.#options.room
  }

  get fallback(): HttpServer {
    return this.#options.fallback
  }

  /** Takes a connection, TLS or not, of which nothing was read that was not put back. Its errors are for whoever accepted it to hear. */
  accept(socket: Socket): void {
    if (!this.#sweeping) {
      this.#look()
      this.#sweeping = setInterval(() => this.sweep(), SWEEP_MS).unref()
    }
    this.#connections.add(new ServerConnection(socket, this))
  }

  route(head: PlainRequest, socket: Socket): Route | undefined {
    return this.#options.route(head, socket)
  }

  handOver(connection: ServerConnection, bytes: Buffer): void {
    const { socket } = connection
    connection.release()
    this.forget(connection)
    socket.pause()
    socket.unshift(bytes)
    this.#options.fallback.emit('connection', socket)
    socket.resume()
  }

  /** The connection is closed, or no longer of this server. */
  forget(connection: ServerConnection): void {
    this.#connections.delete(connection)
    if (this.#connections.size > 0) return
    clearInterval(this.#sweeping)
    this.#sweeping = undefined
  }

  /** `Date` and what says that the connection stays, or not. */
  standing(isKept: boolean): string {
    return `${this.#date}${isKept ? KEPT : 'connection: close\r\n'}`
  }

  line(name: string, value: string): string {
    const latest = this.#lines.get(name)
    if (latest?.value === value) return latest.line
    const line = renderField(name, value)
    if (this.#lines.size >= MAX_LINES) this.#lines.clear()
    this.#lines.set(name, { value, line })
    return line
  }

  flushLater(answer: WireAnswer): void {
    if (this.#waiting.push(answer) === 1) process.nextTick(this.#flush)
  }

  /** Ends what is silent for too long; done once a second while there are connections. */
  sweep(): void {
    this.#look()
    for (const connection of this.#connections.list()) connection.sweep()
  }

  /** Those without a request under way. */
  closeIdleConnections(): void {
    for (const connection of this.#connections.list()) connection.closeIfIdle()
  }

  #look(): void {
    this.clockMs = this.#options.monotonic()
    this.#date = `date: ${new Date(this.#options.now()).toUTCString()}\r\n`
  }
}

const SWEEP_MS = 1000
const MAX_LINES = 64
const KEPT = 'connection: keep-alive\r\nkeep-alive: timeout=75\r\n'

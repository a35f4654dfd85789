import type { Duplex } from 'node:stream'
import type { Clock } from './clock.ts'

export interface LineOptions {
  clock: Clock
  onBytes(chunk: Buffer): void
  /** The connection is gone, with the error of the operating system or of TLS if there was one. May be told several times. */
  onLost(cause: Error | undefined): void
}

const FAREWELL_MS = 1000

/** The connection below a tunnel: what comes from it, and its end. */
export class Line {
  readonly #socket: Duplex
  readonly #options: LineOptions

  constructor(socket: Duplex, options: LineOptions) {
    this.#socket = socket
    this.#options = options
    socket.on('data', (chunk: Buffer) => options.onBytes(chunk))
    socket.on('end', () => options.onLost(undefined))
    socket.on('close', () => options.onLost(undefined))
    // Errors after the end are of no interest, but must not go unheard.
    socket.on('error', options.onLost)
    // One that broke before anybody listened says so no more.
    if (socket.destroyed || socket.readableEnded) process.nextTick(options.onLost, socket.errored ?? undefined)
  }

  get isWritable(): boolean {
    return this.#socket.writable
  }

  /** Lets what was written leave, for a second at most. */
  hangUp(): void {
    const socket = this.#socket
    if (socket.destroyed) return
    socket.resume()
    socket.end()
    const cancel = this.#options.clock.after(FAREWELL_MS, () => socket.destroy())
    socket.on('close', cancel)
  }

  cut(): void {
    this.#socket.destroy()
  }
}

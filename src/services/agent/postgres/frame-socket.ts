import type { Socket } from 'node:net'
import { AppError, toAppError } from '../../../lib/errors.ts'
import { type Frame, FrameReader } from './frames.ts'

/** A connection to a database server, message by message. It is read only while somebody asks for a message. */
export class FrameSocket {
  readonly socket: Socket
  readonly #reader: FrameReader
  #frames: Frame[] = []
  #at = 0
  #fault: Error | undefined

  /** @param maxBytes the largest message that is kept. */
  constructor(socket: Socket, maxBytes: number) {
    this.socket = socket
    this.#reader = new FrameReader(maxBytes)
    socket.on('error', (error) => (this.#fault ??= error))
  }

  set maxBytes(bytes: number) {
    this.#reader.maxBytes = bytes
  }

  get isOpen(): boolean {
    return !this.socket.destroyed && !this.socket.readableEnded
  }

  write(...frames: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(frames))
  }

  /** @throws AppError unavailable when the connection ends, or as `destroy` was told. */
  async next(): Promise<Frame> {
    for (;;) {
      const frame = this.#frames[this.#at]
      if (frame) {
        this.#at += 1
        return frame
      }
      const chunk = await this.#read()
      this.#frames = this.#reader.push(chunk)
      this.#at = 0
    }
  }

  /** Bytes that are no messages yet, as they come next. */
  async #read(): Promise<Buffer> {
    for (;;) {
      const chunk: unknown = this.socket.read()
      if (Buffer.isBuffer(chunk)) return chunk
      if (this.#fault || !this.isOpen) throw this.#ended()
      await readable(this.socket)
    }
  }

  #ended(): AppError {
    if (this.#fault instanceof AppError) return this.#fault
    const cause = this.#fault && toAppError(this.#fault).cause
    return new AppError('unavailable', 'the database server closed the connection', { origin: 'upstream_unreachable', cause })
  }

  /** Ends the connection; whoever waits for a message is told why. */
  destroy(why?: AppError): void {
    this.#fault ??= why
    this.socket.destroy()
  }
}

/** Settles as soon as there may be something to read, or nothing any more. */
function readable(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const events = ['readable', 'end', 'error', 'close']
    const done = (): void => {
      for (const event of events) socket.off(event, done)
      resolve()
    }
    for (const event of events) socket.on(event, done)
  })
}

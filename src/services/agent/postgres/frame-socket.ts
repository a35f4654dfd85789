import type { Socket } from 'node:net'
import { AppError, toAppError } from '../../../lib/errors.ts'
import { firstEvent } from '../../../lib/first-event.ts'
import { type Frame, FrameReader, notPostgres } from './frames.ts'

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

  /**
   * What comes next, as it comes, for whoever goes on without messages; undefined at the end.
   * @throws AppError unavailable when messages were read ahead, or the connection broke.
   */
  async readRaw(): Promise<Buffer | undefined> {
    if (this.#at < this.#frames.length || this.#reader.isWithin) throw notPostgres()
    if (this.socket.readableEnded) return undefined
    try {
      return await this.#read()
    } catch (thrown) {
      if (this.#fault === undefined && this.socket.readableEnded) return undefined
      throw thrown
    }
  }

  /** Bytes that are no messages yet, as they come next. */
  async #read(): Promise<Buffer> {
    for (;;) {
      const chunk: unknown = this.socket.read()
      if (Buffer.isBuffer(chunk)) return chunk
      if (this.#fault || !this.isOpen) throw this.#ended()
      await firstEvent(this.socket, ['readable', 'end', 'error', 'close'])
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

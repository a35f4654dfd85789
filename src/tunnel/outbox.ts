import type { Duplex } from 'node:stream'
import { HEADER_BYTES, writeHeader } from './frame.ts'

/** Up to here a copy is cheaper than one more buffer. */
const COPY_BYTES = 8 * 1024
const SLAB_BYTES = 64 * 1024

/** Collects frames and hands them to the socket in one write for each turn of the event loop. */
export class Outbox {
  readonly #socket: Duplex
  readonly #onFlush: () => void
  /** Small frames are written one after the other into this; a part that was handed over is never touched again. */
  #slab = Buffer.allocUnsafeSlow(SLAB_BYTES)
  #from = 0
  #to = 0
  #sealed: Uint8Array[] = []
  #isScheduled = false
  #isHeld = false
  #isClosed = false
  /** Not yet handed to the socket. */
  bytes = 0

  /** @param onFlush called after each write, when there may be room for more. */
  constructor(socket: Duplex, onFlush: () => void) {
    this.#socket = socket
    this.#onFlush = onFlush
    socket.on('drain', () => {
      if (!this.#isClosed) this.#flush()
    })
  }

  /** Whether the socket takes nothing at present. */
  get isBlocked(): boolean {
    return this.#isHeld || this.#socket.writableNeedDrain
  }

  /** Whether something waits here or in the socket. */
  get isEmpty(): boolean {
    return this.bytes === 0 && this.#socket.writableLength === 0
  }

  /** Keeps back what comes from now on until `release`. */
  hold(): void {
    this.flush()
    this.#isHeld = true
  }

  release(): void {
    this.#isHeld = false
    this.#schedule()
  }

  /** Forgets what is kept back. */
  discard(): void {
    this.#isHeld = false
    this.#sealed = []
    this.#from = this.#to
    this.bytes = 0
  }

  /** The payload is not copied when it is large, and must not change. */
  add(kind: number, id: number, isEnd: boolean, payload: Uint8Array): void {
    const { byteLength: length } = payload
    const copied = length <= COPY_BYTES ? HEADER_BYTES + length : HEADER_BYTES
    if (this.#slab.length - this.#to < copied) this.#replaceSlab()
    writeHeader(this.#slab, this.#to, { kind, id, isEnd, length })
    if (length <= COPY_BYTES) this.#slab.set(payload, this.#to + HEADER_BYTES)
    this.#to += copied
    this.bytes += HEADER_BYTES + length
    if (length > COPY_BYTES) {
      this.#seal()
      this.#sealed.push(payload)
    }
    this.#schedule()
  }

  /** Hands over what there is, now. */
  flush(): void {
    if (this.bytes === 0 || this.#isHeld || this.#isClosed) return
    this.#seal()
    const sealed = this.#sealed
    this.#sealed = []
    this.bytes = 0
    const [only] = sealed
    if (sealed.length === 1 && only) this.#socket.write(only)
    else {
      this.#socket.cork()
      for (const each of sealed) this.#socket.write(each)
      this.#socket.uncork()
    }
  }

  close(): void {
    this.#isClosed = true
    this.#sealed = []
    this.bytes = 0
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isClosed) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      if (!this.#isClosed && !this.isBlocked) this.#flush()
    })
  }

  #flush(): void {
    this.flush()
    this.#onFlush()
  }

  #seal(): void {
    if (this.#to === this.#from) return
    this.#sealed.push(this.#slab.subarray(this.#from, this.#to))
    this.#from = this.#to
  }

  #replaceSlab(): void {
    this.#seal()
    this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES)
    this.#from = 0
    this.#to = 0
  }
}

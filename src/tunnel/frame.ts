import { FAULT_CODES, TunnelFault, faultCode } from './fault.ts'
import type { FaultCode } from './fault.ts'

/** What a frame is (SPEC.md, "Frames"). */
export const FRAME = {
  hello: 0,
  open: 1,
  accept: 2,
  data: 3,
  window: 4,
  reset: 5,
  ping: 6,
  pong: 7,
  goaway: 8,
} as const

/** Length of the payload (3 bytes), kind and END flag (1 byte), stream (4 bytes). */
export const HEADER_BYTES = 8
export const END_FLAG = 0x80
export const MAX_STREAM_ID = 0x7fffffff
export const MAX_HEAD_BYTES = 64 * 1024
export const MAX_DATA_BYTES = 64 * 1024
export const MAX_REASON_BYTES = 256
const MAX_HELLO_BYTES = 1024
const PING_BYTES = 8
const CODE_BYTES = 4
const WINDOW_BYTES = 4

/** Least and most bytes that a frame of each kind may carry. */
const SIZES: readonly (readonly [number, number])[] = [
  [0, MAX_HELLO_BYTES],
  [1, MAX_HEAD_BYTES],
  [1, MAX_HEAD_BYTES],
  [0, MAX_DATA_BYTES],
  [WINDOW_BYTES, WINDOW_BYTES],
  [CODE_BYTES, CODE_BYTES + MAX_REASON_BYTES],
  [PING_BYTES, PING_BYTES],
  [PING_BYTES, PING_BYTES],
  [2 * CODE_BYTES, 2 * CODE_BYTES + MAX_REASON_BYTES],
]

/** Who is told of frames, in the order they came. What it throws comes out of `push`. */
export interface FrameSink {
  /** Some bytes of a data frame as soon as they are here, in memory of the chunk they came in. `isEnd` with the last of a stream. */
  data(id: number, part: Buffer, isEnd: boolean): void
  /** A whole frame of any other kind. */
  frame(kind: number, id: number, isEnd: boolean, payload: Buffer): void
}

const NOTHING = Buffer.alloc(0)

/** Reads frames out of bytes as they come. What it holds is at most one header and one payload of the size that its kind allows. */
export class FrameReader {
  readonly #sink: FrameSink
  readonly #header = Buffer.alloc(HEADER_BYTES)
  #headerBytes = 0
  #kind = 0
  #id = 0
  #isEnd = false
  /** Of the payload under way. */
  #left = 0
  /** The payload under way, when it came in pieces and is no data. */
  #payload: Buffer | undefined
  #isStopped = false

  constructor(sink: FrameSink) {
    this.#sink = sink
  }

  /** From now on nothing is read any more. */
  stop(): void {
    this.#isStopped = true
    this.#payload = undefined
  }

  /** @throws TunnelFault protocol for a frame that no version allows, and whatever the sink throws. The reader is of no use after. */
  push(chunk: Buffer): void {
    let at = 0
    while (at < chunk.length && !this.#isStopped) {
      if (this.#left > 0) at += this.#readPayload(chunk, at)
      else at += this.#readHeader(chunk, at)
    }
  }

  #readHeader(chunk: Buffer, at: number): number {
    if (this.#headerBytes === 0 && chunk.length - at >= HEADER_BYTES) {
      this.#begin(chunk, at)
      return HEADER_BYTES
    }
    const taken = Math.min(HEADER_BYTES - this.#headerBytes, chunk.length - at)
    chunk.copy(this.#header, this.#headerBytes, at, at + taken)
    this.#headerBytes += taken
    if (this.#headerBytes === HEADER_BYTES) {
      this.#headerBytes = 0
      this.#begin(this.#header, 0)
    }
    return taken
  }

  #begin(bytes: Buffer, at: number): void {
    const first = bytes.readUInt32BE(at)
    const length = first >>> 8
    const kind = first & 0x7f
    const size = SIZES[kind]
    if (!size) throw new TunnelFault('protocol', `there is no frame of kind ${kind}`)
    if (length < size[0] || length > size[1]) throw new TunnelFault('protocol', `a frame of kind ${kind} may not carry ${length} bytes`)
    this.#kind = kind
    this.#isEnd = (first & END_FLAG) !== 0
    this.#id = bytes.readUInt32BE(at + 4)
    if (this.#id > MAX_STREAM_ID) throw new TunnelFault('protocol', 'a stream has a number above 2^31-1')
    if (this.#isEnd && kind !== FRAME.open && kind !== FRAME.accept && kind !== FRAME.data)
      throw new TunnelFault('protocol', `a frame of kind ${kind} ends no stream`)
    this.#left = length
    if (length > 0) return
    if (kind !== FRAME.data) this.#sink.frame(kind, this.#id, this.#isEnd, NOTHING)
    else if (this.#isEnd) this.#sink.data(this.#id, NOTHING, true)
    else throw new TunnelFault('protocol', 'a data frame carries nothing')
  }

  /** Gives how many bytes it took. */
  #readPayload(chunk: Buffer, at: number): number {
    const taken = Math.min(this.#left, chunk.length - at)
    if (this.#kind === FRAME.data) {
      this.#left -= taken
      this.#sink.data(this.#id, chunk.subarray(at, at + taken), this.#left === 0 && this.#isEnd)
      return taken
    }
    if (!this.#payload && taken === this.#left) {
      this.#left = 0
      this.#sink.frame(this.#kind, this.#id, this.#isEnd, chunk.subarray(at, at + taken))
      return taken
    }
    const payload = (this.#payload ??= Buffer.allocUnsafe(this.#left))
    chunk.copy(payload, payload.length - this.#left, at, at + taken)
    this.#left -= taken
    if (this.#left === 0) {
      this.#payload = undefined
      this.#sink.frame(this.#kind, this.#id, this.#isEnd, payload)
    }
    return taken
  }
}

/** Writes the header of a frame whose payload has `length` bytes. */
export function writeHeader(target: Buffer, at: number, frame: { kind: number; id: number; isEnd: boolean; length: number }): void {
  target.writeUInt32BE(frame.length * 256 + (frame.isEnd ? frame.kind | END_FLAG : frame.kind), at)
  target.writeUInt32BE(frame.id, at + 4)
}

export function encodeWindow(bytes: number): Buffer {
  const payload = Buffer.allocUnsafe(WINDOW_BYTES)
  payload.writeUInt32BE(bytes)
  return payload
}

/** @throws TunnelFault protocol when it is zero or more than 2^31-1. */
export function decodeWindow(payload: Buffer): number {
  const bytes = payload.readUInt32BE()
  if (bytes === 0 || bytes > MAX_STREAM_ID) throw new TunnelFault('protocol', `a window cannot grow by ${bytes}`)
  return bytes
}

/** Why a stream ends before its time; the reason is cut to what fits. */
export function encodeReset(code: FaultCode, reason: string): Buffer {
  const text = encodeReason(reason)
  const payload = Buffer.allocUnsafe(CODE_BYTES + text.length)
  payload.writeUInt32BE(FAULT_CODES[code])
  payload.set(text, CODE_BYTES)
  return payload
}

export function decodeReset(payload: Buffer): TunnelFault {
  return new TunnelFault(faultCode(payload.readUInt32BE()), decodeReason(payload.subarray(CODE_BYTES)))
}

export interface Goaway {
  /** The last stream of the peer that was taken; those after it were not looked at. */
  lastId: number
  fault: TunnelFault
}

export function encodeGoaway(lastId: number, code: FaultCode, reason: string): Buffer {
  const last = Buffer.allocUnsafe(CODE_BYTES)
  last.writeUInt32BE(lastId)
  return Buffer.concat([last, encodeReset(code, reason)])
}

export function decodeGoaway(payload: Buffer): Goaway {
  return { lastId: payload.readUInt32BE(), fault: decodeReset(payload.subarray(CODE_BYTES)) }
}

function encodeReason(reason: string): Buffer {
  const text = Buffer.from(printable(reason.slice(0, MAX_REASON_BYTES)))
  return text.length <= MAX_REASON_BYTES ? text : text.subarray(0, MAX_REASON_BYTES)
}

function decodeReason(bytes: Buffer): string {
  return printable(bytes.toString('utf8'))
}

/** Reasons are shown to people and written into logs. */
function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]+/gu, ' ')
}

import { FRAME, FrameReader, HEADER_BYTES, encodeWindow, writeHeader } from './frame.ts'
import { encodeRequestHead } from './head.ts'
import { encodeHello } from './hello.ts'
import type { Exchange } from './exchange.ts'
import type { MemoryDuplex } from './tunnel.fixture.ts'

/** A frame as bytes, whatever it says. */
export function frame(kind: number, id: number, payload: Uint8Array | string = '', isEnd = false): Buffer {
  const bytes = typeof payload === 'string' ? Buffer.from(payload, 'latin1') : payload
  const header = Buffer.alloc(HEADER_BYTES)
  writeHeader(header, 0, { kind, id, isEnd, length: bytes.length })
  return Buffer.concat([header, bytes])
}

const ROOMY = { maxStreams: 100_000, streamWindow: 1024 * 1024, connectionWindow: 64 * 1024 * 1024, features: [] }

export const hello = (more: Partial<typeof ROOMY> = {}): Buffer => frame(FRAME.hello, 0, encodeHello({ ...ROOMY, ...more }))
export const data = (id: number, payload: Uint8Array | string, isEnd = false): Buffer => frame(FRAME.data, id, payload, isEnd)
export const reset = (id: number): Buffer => frame(FRAME.reset, id, '\0\0\0\0')
export const ping = (): Buffer => frame(FRAME.ping, 0, '12345678')
export const widen = (id: number, bytes: number): Buffer => frame(FRAME.window, id, encodeWindow(bytes))

/** Opens a stream with a request; without a body it is whole. */
export function open(id: number, exchange: Exchange, isWhole = exchange.body.length === 0): Buffer {
  return frame(FRAME.open, id, encodeRequestHead(exchange), isWhole)
}

export interface Heard {
  kind: number
  id: number
  isEnd: boolean
  payload: Buffer
}

/** What comes out of the other end, frame by frame; data in the parts it came in. */
export function listen(socket: MemoryDuplex): Heard[] {
  const heard: Heard[] = []
  const reader = new FrameReader({
    data: (id, part, isEnd) => heard.push({ kind: FRAME.data, id, isEnd, payload: Buffer.from(part) }),
    frame: (kind, id, isEnd, payload) => heard.push({ kind, id, isEnd, payload: Buffer.from(payload) }),
  })
  socket.on('data', (chunk: Buffer) => reader.push(chunk))
  socket.on('error', () => undefined)
  return heard
}

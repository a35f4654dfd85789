import fc from 'fast-check'
import { expect, test } from 'vitest'
import { TunnelFault } from './fault.ts'
import { FRAME, FrameReader, HEADER_BYTES, MAX_STREAM_ID, writeHeader } from './frame.ts'

interface Seen {
  kind: number
  id: number
  isEnd: boolean
  payload: string
}

const KINDS: readonly (readonly [number, number, number])[] = [
  [FRAME.hello, 0, 1024],
  [FRAME.open, 1, 3000],
  [FRAME.accept, 1, 3000],
  [FRAME.data, 1, 5000],
  [FRAME.window, 4, 4],
  [FRAME.reset, 4, 260],
  [FRAME.ping, 8, 8],
  [FRAME.pong, 8, 8],
  [FRAME.goaway, 8, 264],
]

const frames = fc.array(
  fc.constantFrom(...KINDS).chain(([kind, min, max]) =>
    fc.record({
      kind: fc.constant(kind),
      id: fc.nat(MAX_STREAM_ID),
      isEnd: kind === FRAME.open || kind === FRAME.accept || kind === FRAME.data ? fc.boolean() : fc.constant(false),
      payload: fc.uint8Array({ minLength: min, maxLength: max }).map((bytes) => Buffer.from(bytes).toString('latin1')),
    }),
  ),
  { maxLength: 12 },
)

function encode(frame: Seen): Buffer {
  const payload = Buffer.from(frame.payload, 'latin1')
  const header = Buffer.alloc(HEADER_BYTES)
  writeHeader(header, 0, { kind: frame.kind, id: frame.id, isEnd: frame.isEnd, length: payload.length })
  return Buffer.concat([header, payload])
}

/** What a reader says of these chunks, parts of a data frame put together. */
function read(chunks: readonly Buffer[]): Seen[] {
  const seen: Seen[] = []
  const isOpen = { data: false }
  const reader = new FrameReader({
    data: (id, part, isEnd) => {
      const last = seen.at(-1)
      if (isOpen.data && last) {
        last.payload += part.toString('latin1')
        last.isEnd = isEnd
      } else seen.push({ kind: FRAME.data, id, isEnd, payload: part.toString('latin1') })
      isOpen.data = true
    },
    frame: (kind, id, isEnd, payload) => {
      isOpen.data = false
      seen.push({ kind, id, isEnd, payload: payload.toString('latin1') })
    },
  })
  for (const chunk of chunks) reader.push(Buffer.from(chunk))
  return seen
}

function cut(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = []
  for (let at = 0, index = 0; at < bytes.length; index++) {
    const size = sizes[index % sizes.length] ?? 1
    chunks.push(bytes.subarray(at, at + size))
    at += size
  }
  return chunks
}

test('whatever frames were written are read, however they are cut', () => {
  fc.assert(
    fc.property(frames, fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 8 }), (written, sizes) => {
      // Data frames that follow each other are told apart by a ping between them.
      const apart = written.flatMap((frame) => [frame, { kind: FRAME.ping, id: 0, isEnd: false, payload: '........' }])
      expect(read(cut(Buffer.concat(apart.map(encode)), sizes))).toEqual(apart)
    }),
    { numRuns: 300 },
  )
})

test('sizes and flags that a kind does not allow are refused at the header', () => {
  const refused: Seen[] = [
    { kind: 9, id: 0, isEnd: false, payload: '' },
    { kind: 127, id: 0, isEnd: false, payload: '' },
    { kind: FRAME.open, id: 1, isEnd: false, payload: '' },
    { kind: FRAME.data, id: 1, isEnd: false, payload: '' },
    { kind: FRAME.data, id: 1, isEnd: false, payload: 'x'.repeat(65_537) },
    { kind: FRAME.hello, id: 0, isEnd: false, payload: 'x'.repeat(1025) },
    { kind: FRAME.window, id: 1, isEnd: false, payload: '123' },
    { kind: FRAME.window, id: 1, isEnd: true, payload: '1234' },
    { kind: FRAME.ping, id: 0, isEnd: false, payload: '123456789' },
    { kind: FRAME.goaway, id: 0, isEnd: false, payload: '1234567' },
    { kind: FRAME.reset, id: 1, isEnd: false, payload: 'x'.repeat(261) },
    { kind: FRAME.ping, id: MAX_STREAM_ID + 1, isEnd: false, payload: '12345678' },
  ]
  for (const frame of refused) expect(() => read([encode(frame).subarray(0, HEADER_BYTES)]), JSON.stringify(frame)).toThrow(TunnelFault)
})

test('a reader that was stopped says nothing more', () => {
  const seen: number[] = []
  const reader: FrameReader = new FrameReader({
    data: () => undefined,
    frame: (kind) => {
      seen.push(kind)
      reader.stop()
    },
  })
  const ping = encode({ kind: FRAME.ping, id: 0, isEnd: false, payload: '12345678' })
  reader.push(Buffer.concat([ping, ping]))
  reader.push(ping)
  expect(seen).toEqual([FRAME.ping])
})

import type { Readable } from 'node:stream'
import { AppError } from '../lib/errors.ts'
import { firstEvent } from '../lib/first-event.ts'

/** What a client of PostgreSQL wants of a new connection ("Start-up" of protocol 3.0). */
export type Startup =
  | { kind: 'session'; parameters: Record<string, string>; rest: Buffer }
  /** The key of the session whose statement is to end, in hexadecimal. */
  | { kind: 'cancel'; key: string }

const PROTOCOL_3 = 3
const CANCEL = 80_877_102
const SSL = 80_877_103
const GSS = 80_877_104
const MAX_BYTES = 10_000

/**
 * Reads the start of a connection; encryption, which loopback does not need, is declined by `decline`.
 * @throws AppError invalid_argument for anything else.
 */
export async function readStartup(socket: Readable, decline: () => void): Promise<Startup> {
  let held: Buffer = Buffer.alloc(0)
  for (;;) {
    held = await readUntil(socket, held, 8)
    const length = held.readUInt32BE(0)
    if (length < 8 || length > MAX_BYTES) throw notPostgres()
    held = await readUntil(socket, held, length)
    const code = held.readUInt32BE(4)
    const body = held.subarray(8, length)
    held = held.subarray(length)
    if (code === SSL || code === GSS) decline()
    else if (code === CANCEL) return { kind: 'cancel', key: body.toString('hex') }
    else if (code >>> 16 === PROTOCOL_3) return { kind: 'session', parameters: readPairs(body), rest: held }
    else throw notPostgres()
  }
}

async function readUntil(socket: Readable, held: Buffer, bytes: number): Promise<Buffer> {
  let whole = held
  while (whole.length < bytes) {
    const chunk: unknown = socket.read()
    if (Buffer.isBuffer(chunk)) whole = Buffer.concat([whole, chunk])
    else if (socket.readableEnded || socket.destroyed) throw notPostgres()
    else await firstEvent(socket, ['readable', 'end', 'close', 'error'])
  }
  return whole
}

function readPairs(body: Buffer): Record<string, string> {
  const texts = body.toString('utf8').split('\0')
  const pairs = new Map<string, string>()
  for (let at = 0; at + 1 < texts.length; at += 2) if (texts[at]) pairs.set(texts[at] ?? '', texts[at + 1] ?? '')
  return Object.fromEntries(pairs)
}

/** An ErrorResponse that ends a connection; `28000` is "invalid authorization specification". */
export function renderFatal(message: string): Buffer {
  const body = Buffer.from(['SFATAL', 'VFATAL', 'C28000', `M${message.replaceAll('\0', '')}`, ''].map((field) => `${field}\0`).join(''))
  const head = Buffer.alloc(5)
  head.write('E')
  head.writeUInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

function notPostgres(): AppError {
  return new AppError('invalid_argument', 'this is not the PostgreSQL protocol')
}

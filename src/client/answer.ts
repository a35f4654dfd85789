import type { IncomingMessage } from 'node:http'
import { AppError } from '../lib/errors.ts'
import type { WireAnswer } from './call.ts'

const MAX_ANSWER_BYTES = 64 * 1024 * 1024

/** The whole answer as text; more than 64 MiB or a broken connection throws. */
export async function readAnswer(message: IncomingMessage): Promise<WireAnswer> {
  return { status: message.statusCode ?? 0, body: (await readBody(message, MAX_ANSWER_BYTES)).toString() }
}

/** All bytes of a message, at most `maxBytes`. */
export async function readBody(message: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let total = 0
  try {
    for await (const chunk of message) {
      const piece: unknown = chunk
      const bytes = piece instanceof Uint8Array ? Buffer.from(piece) : Buffer.from(String(piece))
      total += bytes.length
      if (total > maxBytes) throw new AppError('resource_exhausted', `the answer is larger than ${maxBytes} bytes`)
      chunks.push(bytes)
    }
  } catch (thrown) {
    if (thrown instanceof AppError) throw thrown
    throw new AppError('unavailable', 'the connection broke while the answer was read: try again', { cause: thrown })
  }
  return Buffer.concat(chunks)
}

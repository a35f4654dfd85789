import type { IncomingMessage } from 'node:http'
import { AppError } from '../lib/errors.ts'
import { readBounded } from '../lib/read-bounded.ts'
import type { WireAnswer } from './call.ts'

const MAX_ANSWER_BYTES = 64 * 1024 * 1024

/** The whole answer as text; more than 64 MiB or a broken connection throws. */
export async function readAnswer(message: IncomingMessage): Promise<WireAnswer> {
  return { status: message.statusCode ?? 0, body: (await readBody(message, MAX_ANSWER_BYTES)).toString() }
}

/** All bytes of a message, at most `maxBytes`. */
export async function readBody(message: IncomingMessage, maxBytes: number): Promise<Buffer> {
  try {
    return await readBounded(message, maxBytes, () => new AppError('resource_exhausted', `the answer is larger than ${maxBytes} bytes`))
  } catch (thrown) {
    if (thrown instanceof AppError) throw thrown
    throw new AppError('unavailable', 'the connection broke while the answer was read: try again', { cause: thrown })
  }
}

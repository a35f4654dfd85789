import type { IncomingMessage } from 'node:http'
import { AppError } from '../lib/errors.ts'
import { oneLine } from '../lib/json-scan.ts'
import { createSseParser } from '../lib/sse.ts'
import { readBody } from './answer.ts'
import { bridgeError } from './mcp-errors.ts'
import { classifyServerLine } from './mcp-frame.ts'

export const MAX_MESSAGE_BYTES = 16 * 1024 * 1024

/** What reading an answer left behind. */
export interface Delivered {
  /** Exact JSON texts of the ids answered in it. */
  answered: Set<string>
  /** Where an event stream can be taken up again, and after how long its server wants it. */
  lastEventId: string | undefined
  retryMs: number | undefined
  /** Whether the connection broke before the answer's end. */
  broken: boolean
}

export type TakeLine = (line: Uint8Array, answers: string | undefined) => Promise<void>

/**
 * Hands each message of an answer to `take`, one line each, exact but for line ends inside. What is not a JSON-RPC message throws a
 * protocol error for a JSON body and is left out of an event stream.
 */
export async function deliver(answer: IncomingMessage, take: TakeLine): Promise<Delivered> {
  const delivered: Delivered = { answered: new Set(), lastEventId: undefined, retryMs: undefined, broken: false }
  const type = (answer.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase()
  if (type === 'text/event-stream') await readStream(answer, delivered, take)
  else if (type === 'application/json') await readJson(answer, delivered, take)
  else {
    answer.resume()
    throw bridgeError('MCP_PROTOCOL_ERROR', `the server answered with ${type || 'no content type'} instead of JSON or an event stream`)
  }
  return delivered
}

async function readJson(answer: IncomingMessage, delivered: Delivered, take: TakeLine): Promise<void> {
  const line = oneLine(await readBody(answer, MAX_MESSAGE_BYTES))
  const message = classifyServerLine(line)
  if (!message) throw bridgeError('MCP_PROTOCOL_ERROR', 'the server answered with something that is no JSON-RPC message')
  if (message.answers !== undefined) delivered.answered.add(message.answers)
  for (const id of message.batch) delivered.answered.add(id)
  await take(line, message.answers)
}

async function readStream(answer: IncomingMessage, delivered: Delivered, take: TakeLine): Promise<void> {
  const parser = createSseParser({ maxEventBytes: MAX_MESSAGE_BYTES + 65_536 })
  try {
    for await (const chunk of answer) {
      for (const event of parser.push(Buffer.from(chunk))) {
        if (event.id !== undefined) delivered.lastEventId = event.id || undefined
        if (event.retry !== undefined) delivered.retryMs = event.retry
        if (event.event !== 'message' || event.data.toString('utf8').trim() === '') continue
        const line = oneLine(event.data)
        const message = classifyServerLine(line)
        if (!message) continue
        if (message.answers !== undefined) delivered.answered.add(message.answers)
        for (const id of message.batch) delivered.answered.add(id)
        await take(line, message.answers)
      }
    }
  } catch (thrown) {
    if (thrown instanceof AppError) throw thrown
    delivered.broken = true
  }
}

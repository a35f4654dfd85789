import { AppError } from '../../lib/errors.ts'
import { scanMessage, type Span } from '../../lib/json-scan.ts'
import type { SseEvent } from '../../lib/sse.ts'
import { REVISIONS } from '../eras/revisions.ts'
import { fieldsOf } from '../message.ts'
import { parseJson } from '../response.ts'
import { notProtocol } from './http-fault.ts'
import type { Reply } from './upstream.ts'

/** Messages in one array, as many as a client may send at once. */
const MAX_BATCH = 100

/** A server is trusted with deeper and larger answers than a client with requests. */
export const ANSWER_LIMITS = { maxDepth: 512, maxKeys: 1_000_000 }

/** What a legacy session agreed on, whose server may answer with an array of messages or not (MCP 2025-03-26, basic, batching). */
export class Agreed {
  #mayBatch = false

  /** False until there is an answer: `initialize` is never part of a batch. */
  get mayBatch(): boolean {
    return this.#mayBatch
  }

  /** Takes what the server said to `initialize`. */
  learn(message: Buffer): void {
    const revision = fieldsOf(fieldsOf(parseJson(message))?.['result'])?.['protocolVersion']
    if (typeof revision === 'string') this.#mayBatch = Object.hasOwn(REVISIONS, revision) && REVISIONS[revision]?.batches === true
  }
}

/** The reply to `initialize`, which is learned from as it is read. */
export function learnFrom(reply: Reply, agreed: Agreed): Reply {
  if (reply.kind === 'message') agreed.learn(reply.bytes)
  return reply.kind === 'events' ? { kind: 'events', events: learnFromEvents(reply.events, agreed) } : reply
}

async function* learnFromEvents(events: AsyncIterable<SseEvent>, agreed: Agreed): AsyncGenerator<SseEvent, void> {
  for await (const event of events) {
    agreed.learn(event.data)
    yield event
  }
}

/** Whether the text, of which these are the first bytes, is an array, if it is JSON at all. */
export function beginsBatch(bytes: Uint8Array): boolean {
  let at = 0
  for (; isSpace(bytes[at]); at++);
  return bytes[at] === OPEN_BRACKET
}

/** Why an array of so many messages is not taken apart; undefined when it is. */
export function batchFault(count: number, isAllowed: boolean): string | undefined {
  if (!isAllowed) return 'it sends several messages as one, which is for revision 2025-03-26 only'
  if (count === 0) return 'it sends an empty batch'
  return count > MAX_BATCH ? `it sends more than ${MAX_BATCH} messages as one` : undefined
}

/**
 * The messages of a batch, each of which has to be judged by itself; of an object that object.
 * @throws AppError unavailable (origin upstream) for a batch that may not be, or cannot be taken apart.
 */
export function takeApart(bytes: Buffer, server: string, isAllowed: boolean): Buffer[] {
  const spans = isAllowed ? findElements(bytes, server) : []
  const fault = batchFault(spans.length, isAllowed)
  if (fault !== undefined) throw notProtocol(server, fault)
  return spans.map(({ start, end }) => bytes.subarray(start, end))
}

function findElements(bytes: Buffer, server: string): readonly Span[] {
  try {
    const message = scanMessage(bytes, ANSWER_LIMITS)
    return message.kind === 'array' ? message.elements : [{ start: 0, end: bytes.length }]
  } catch (cause) {
    if (cause instanceof AppError) throw notProtocol(server, `what it sends as several messages cannot be read: ${cause.message}`, cause)
    throw cause
  }
}

const OPEN_BRACKET = 0x5b
const SPACE = 0x20

function isSpace(byte: number | undefined): boolean {
  return byte === SPACE || byte === 0x0a || byte === 0x0d || byte === 0x09
}

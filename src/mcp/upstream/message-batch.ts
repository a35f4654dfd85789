import { AppError } from '../../lib/errors.ts'
import { scanMessage, type Span } from '../../lib/json-scan.ts'
import { REVISIONS } from '../eras/revisions.ts'
import { fieldsOf } from '../message.ts'
import { parseJson } from '../response.ts'
import { notProtocol } from './http-fault.ts'

/** Messages in one array, as many as a client may send at once. */
export const MAX_BATCH = 100

/** A server is trusted with deeper and larger answers than a client with requests. */
export const ANSWER_LIMITS = { maxDepth: 512, maxKeys: 1_000_000 }

/**
 * Whether a server that was sent this `MCP-Protocol-Version` may answer with an array of messages. Without the header it is 2025-03-26
 * (MCP 2025-06-18, basic/transports, protocol version header), whose servers may (basic, batching).
 */
export function mayBatch(revision: string | undefined): boolean {
  return REVISIONS[revision ?? '2025-03-26']?.batches === true
}

/** What a session agreed on, where no header says it. */
export interface Agreed {
  /** Takes the answer to `initialize`. */
  learn(answer: Buffer): void
  /** False until there is an answer: `initialize` is never part of a batch. */
  readonly mayBatch: boolean
}

export function createAgreed(): Agreed {
  let isAllowed = false
  return {
    learn(answer) {
      const revision = fieldsOf(fieldsOf(parseJson(answer))?.['result'])?.['protocolVersion']
      isAllowed = typeof revision === 'string' && mayBatch(revision)
    },
    get mayBatch() {
      return isAllowed
    },
  }
}

/** Whether the text is an array, if it is JSON at all. */
export function beginsBatch(text: string): boolean {
  const first = text.charCodeAt(0)
  return first === OPEN_BRACKET || (first <= SPACE && /^[\t\n\r ]+\[/.test(text))
}

/** The same for the first bytes of a text. */
export function beginsBatchBytes(bytes: Uint8Array): boolean {
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

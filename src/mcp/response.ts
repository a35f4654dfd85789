import { AppError } from '../lib/errors.ts'
import { parsePlain } from '../lib/plain-message.ts'
import { idKey } from './request-ids.ts'
import { type Fields, fieldsOf } from './message.ts'

/** What is known of a response: that it is clear and the answer to its request, and what it says, when that was read. */
export interface KnownAnswer {
  response?: Fields
}

/**
 * A JSON-RPC response.
 * @throws AppError unavailable (origin upstream) when it is none.
 */
export function readResponse(bytes: Buffer): Fields {
  const response = fieldsOf(parseJson(bytes))
  if (!response || !isResponse(response))
    throw new AppError('unavailable', 'the MCP server answered with something that is no JSON-RPC response', { origin: 'upstream' })
  return response
}

/**
 * A response that is short and written as JavaScript writes it, which proves it clear without a look at each byte; undefined for all else,
 * which may be one too.
 */
export function readPlainResponse(bytes: Buffer): Fields | undefined {
  const response = parsePlain(bytes)
  return response && isResponse(response) ? response : undefined
}

/** Whether a clear response is that to the request with this `idKey`. A server that could not read a request answers it without an id. */
export function isAnswerTo(response: Fields, key: string): boolean {
  const { id } = response
  return idKey(id) === key || (response['error'] !== undefined && (id === undefined || id === null))
}

function isResponse(message: Fields): boolean {
  return message['method'] === undefined && 'result' in message !== 'error' in message
}

/** Undefined for what is not JSON. */
export function parseJson(text: Buffer | string): unknown {
  try {
    return JSON.parse(text.toString())
  } catch {
    return undefined // nothing that could be judged, as the callers see it
  }
}

/** Clients sort answers by id alone. A server that could not read a request answers it without one (JSON-RPC 2.0, section 5). */
export function notTheAnswer(): AppError {
  return new AppError('unavailable', 'the MCP server did not answer this request with one clear JSON-RPC response', { origin: 'upstream' })
}

import { AppError } from '../lib/errors.ts'
import { type Fields, fieldsOf } from './message.ts'

/**
 * A JSON-RPC response.
 * @throws AppError unavailable (origin upstream) when it is none.
 */
export function readResponse(bytes: Buffer): Fields {
  const response = fieldsOf(parseJson(bytes))
  const isResponse = response !== undefined && response['method'] === undefined && 'result' in response !== 'error' in response
  if (!isResponse)
    throw new AppError('unavailable', 'the MCP server answered with something that is no JSON-RPC response', { origin: 'upstream' })
  return response
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

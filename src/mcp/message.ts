import { AppError } from '../lib/errors.ts'
import { findMember, type ScannedObject, scanMessage, type Span, textAt } from '../lib/json-scan.ts'
import { withPlainKeys } from '../lib/message-names.ts'
import { parsePlain } from '../lib/plain-message.ts'

export type Fields = Readonly<Record<string, unknown>>

/** One JSON-RPC message of a client, proven unambiguous; `bytes` is exactly what was judged. */
export interface ClientMessage {
  kind: 'request' | 'notification' | 'response'
  bytes: Buffer
  /** Raw JSON text of the id, so that any JSON type and any precision comes back as it was. */
  id: string | undefined
  /** `''` for a response. */
  method: string
  /** Parsed `params`; `{}` when absent. */
  params: Fields
  /** Raw JSON text of `params._meta.progressToken`. */
  progressToken: string | undefined
}

/** Of the JSON text of an id. Answers are read with ids of six times as much, for a server may escape each character. */
const MAX_ID = 16_384

/**
 * The message, or messages of a batch, in a body.
 * @throws AppError invalid_argument with `details.rpc` -32700 (not JSON) or -32600 (not an unambiguous JSON-RPC message).
 */
export function readClientMessages(body: Buffer): { batch: boolean; messages: ClientMessage[] } {
  const plain = readPlain(body)
  if (plain) return { batch: false, messages: [plain] }
  const scanned = scanMessage(body)
  if (scanned.kind === 'object') return { batch: false, messages: [readObject(body, scanned)] }
  if (scanned.elements.length === 0) throw invalid('an empty batch is not a message')
  return { batch: true, messages: scanned.elements.map((span) => readElement(body, span)) }
}

/** A call whose text needs no scan; undefined for all that is not plainly right, which the scan accepts or refuses in words. */
function readPlain(bytes: Buffer): ClientMessage | undefined {
  const message = parsePlain(bytes)
  if (message === undefined || 'result' in message || 'error' in message) return undefined
  const { jsonrpc, id, method, params = {} } = message
  if (jsonrpc !== '2.0' || typeof method !== 'string' || !isFields(params)) return undefined
  if (id !== undefined && typeof id !== 'number' && (typeof id !== 'string' || id.length > MAX_ID / 6)) return undefined
  const token = fieldsOf(params['_meta'])?.['progressToken']
  return {
    kind: id === undefined ? 'notification' : 'request',
    bytes,
    id: id === undefined ? undefined : JSON.stringify(id),
    method,
    params,
    progressToken: token === undefined ? undefined : JSON.stringify(token),
  }
}

function readElement(body: Buffer, span: Span): ClientMessage {
  const bytes = body.subarray(span.start, span.end)
  const scanned = scanMessage(bytes)
  if (scanned.kind === 'array') throw invalid('a batch within a batch is not a message')
  return readObject(bytes, scanned)
}

function readObject(bytes: Buffer, scanned: ScannedObject): ClientMessage {
  const { members, id } = scanned
  const version = members.get('jsonrpc')
  if (!version || textAt(bytes, version) !== '"2.0"') throw invalid('"jsonrpc" must be "2.0"')
  if (id !== undefined && !isId(id)) throw invalid('"id" must be a string or a number')
  if (id !== undefined && id.length > MAX_ID) throw invalid(`"id" may have ${MAX_ID} characters`)
  if (members.has('method')) return readCall(bytes, scanned)
  const isAnswer = members.has('result') !== members.has('error')
  if (!isAnswer || id === undefined) throw invalid('a message needs a "method", or an "id" with either "result" or "error"')
  return { kind: 'response', bytes, id, method: '', params: {}, progressToken: undefined }
}

function readCall(bytes: Buffer, scanned: ScannedObject): ClientMessage {
  const { members, id, method } = scanned
  if (method === undefined) throw invalid('"method" must be a string')
  if (members.has('result') || members.has('error')) throw invalid('a message with a "method" has no "result" or "error"')
  const span = members.get('params')
  if (span && !scanned.paramsIsObject) throw invalid('"params" must be an object')
  const params = span ? parseParams(textAt(bytes, span)) : {}
  const progressToken = findProgressToken(bytes, params, scanned.paramsMembers.get('_meta'))
  return { kind: id === undefined ? 'notification' : 'request', bytes, id, method, params, progressToken }
}

function parseParams(text: string): Fields {
  const plain = withPlainKeys(text)
  if (plain === undefined) throw invalid('a key that is one control character, quote or half of a surrogate pair cannot be read')
  return fieldsOf(JSON.parse(plain)) ?? {}
}

function findProgressToken(bytes: Buffer, params: Fields, meta: Span | undefined): string | undefined {
  if (meta === undefined || fieldsOf(params['_meta'])?.['progressToken'] === undefined) return undefined
  const token = findMember(bytes, meta, 'progressToken')
  return token && textAt(bytes, token)
}

/** Raw JSON text of the id of the request in a body, so that whoever is refused finds it in the answer; undefined when there is none to read. */
export function findRequestId(body: Buffer): string | undefined {
  try {
    const scanned = scanMessage(body)
    if (scanned.kind === 'array' || scanned.method === undefined) return undefined
    return isId(scanned.id) ? scanned.id : undefined
  } catch (thrown) {
    if (thrown instanceof AppError) return undefined
    throw thrown
  }
}

/** The value of a raw id; numbers beyond 2^53 lose precision, as they do in most programs. */
export function parseId(raw: string): string | number | null {
  const id: unknown = JSON.parse(raw)
  return typeof id === 'string' || typeof id === 'number' ? id : null
}

function isId(raw: string | undefined): boolean {
  return raw !== undefined && /^["\d-]/.test(raw)
}

/** The value as an object whose members may be looked at, or undefined. */
export function fieldsOf(value: unknown): Fields | undefined {
  return isFields(value) ? value : undefined
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function invalid(message: string): AppError {
  return new AppError('invalid_argument', `invalid request: ${message}`, { details: { rpc: -32600 } })
}

/** A JSON-RPC error for the request with this id text; `null` when the request could not be read. */
export function renderRpcError(id: string | undefined, code: number, message: string, details?: unknown): Buffer {
  const error = JSON.stringify({ code, message, ...(details === undefined ? {} : { data: details }) })
  return Buffer.from(`{"jsonrpc":"2.0","id":${id ?? 'null'},"error":${error}}`)
}

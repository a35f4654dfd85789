import { AppError } from '../../lib/errors.ts'
import { parseExact, renderExact } from '../../lib/json-scan.ts'
import { frameSse, type SseEvent } from '../../lib/sse.ts'
import { type Fields, fieldsOf } from '../message.ts'
import { readRedirect } from '../upstream/redirect.ts'
import type { Outgoing, Reply } from '../upstream/upstream.ts'

type Headers = Readonly<Record<string, string>>

/** A JSON-RPC error object. */
export interface RpcError {
  code: number
  message: string
  data?: unknown
}

/** `params` of a message, numbers kept as they were written (`parseExact`); `{}` when absent. */
export function paramsOf(message: Outgoing): Fields {
  return fieldsOf(readMessage(message.bytes)?.['params']) ?? {}
}

/** A JSON object, numbers kept as they were written; undefined for anything else. */
export function readMessage(text: Buffer | string): Fields | undefined {
  try {
    return fieldsOf(parseExact(text.toString()))
  } catch (thrown) {
    if (thrown instanceof AppError) return undefined
    throw thrown
  }
}

/** A request to a server. `id` is raw JSON text; the answer is read as a whole, since it has to be translated. */
export function composeRequest(id: string, method: string, params: Fields, headers: Headers = {}): Outgoing {
  const bytes = Buffer.from(`{"jsonrpc":"2.0","id":${id},"method":${JSON.stringify(method)},"params":${renderExact(params)}}`)
  const token = objectOf(params['_meta'])?.['progressToken']
  const progressToken = token === undefined ? undefined : renderExact(token)
  return { kind: 'request', bytes, id, method, progressToken, headers, whole: true }
}

/** A notification to a server. */
export function composeNotification(method: string, params: Fields | undefined, headers: Headers = {}): Outgoing {
  const bytes = Buffer.from(renderExact({ jsonrpc: '2.0', method, ...(params && { params }) }))
  return { kind: 'notification', bytes, id: undefined, method, progressToken: undefined, headers, whole: false }
}

/** An answer to a request of a server. `id` is raw JSON text. */
export function composeResponse(id: string, answer: { result: unknown } | { error: RpcError }, headers: Headers = {}): Outgoing {
  return { kind: 'response', bytes: renderAnswer(id, answer), id, method: undefined, progressToken: undefined, headers, whole: false }
}

/** The text of a response, in either direction. `id` is raw JSON text. */
export function renderAnswer(id: string, answer: { result: unknown } | { error: RpcError }): Buffer {
  return Buffer.from(`{"jsonrpc":"2.0","id":${id},${renderExact(answer).slice(1)}`)
}

/** One message as an event of a stream, as a server would send it. */
export function eventOf(message: Buffer | Fields): SseEvent {
  const data = Buffer.isBuffer(message) ? message : Buffer.from(renderExact(message))
  return { raw: frameSse({ data }), event: 'message', data, hasData: true, isComment: false }
}

/** The same object without these members. */
export function without(fields: Fields, ...names: readonly string[]): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name)))
}

/** One member of a `params` or a `result` changed inside `_meta`: `undefined` takes a key out, and an empty `_meta` goes altogether. */
export function withMeta(fields: Fields, changes: Readonly<Record<string, unknown>>): Fields {
  const merged = Object.entries({ ...objectOf(fields['_meta']), ...changes }).filter(([, value]) => value !== undefined)
  const rest = without(fields, '_meta')
  return merged.length > 0 ? { ...rest, _meta: Object.fromEntries(merged) } : rest
}

/** Characters that a server may use to say who it is and what it can do, which is kept for every session with it. */
export const MAX_DESCRIPTION = 1024 * 1024

/** Whether a server says more of itself than can be kept. */
export function isOverlong(description: Fields): boolean {
  return renderExact(description).length > MAX_DESCRIPTION
}

/** The value as an object whose members may be looked at; undefined for what `parseExact` kept as the text of a number, too. */
export function objectOf(value: unknown): Fields | undefined {
  return JSON.isRawJSON(value) ? undefined : fieldsOf(value)
}

/** A number that `parseExact` read, whatever way it kept it; undefined for anything else. */
export function numberOf(value: unknown): number | undefined {
  if (typeof value === 'number') return value
  return JSON.isRawJSON(value) ? Number(renderExact(value)) : undefined
}

/** What a server said, message by message, the way it came: as one message, as a stream, or as an HTTP error with a JSON-RPC body. */
export interface Said {
  message: Fields
  /** HTTP status that came with it; 200 for anything that is no HTTP error. */
  status: number
}

const MAX_ANSWER = 16 * 1024 * 1024

/**
 * The messages of a reply in order; comments and events that are no JSON object are left out.
 * @throws AppError unavailable (origin upstream) for an HTTP error without a JSON-RPC error in it, one that is about the gateway or the server
 * itself whatever is in it, a message that is no JSON object, and an answer above 16 MiB.
 */
export async function* saidIn(reply: Reply, server: string): AsyncGenerator<Said, void> {
  if (reply.kind === 'accepted') return
  if (reply.kind === 'events') {
    for await (const event of reply.events) {
      const message = event.data.length > 0 ? readMessage(event.data) : undefined
      if (message) yield { message, status: 200 }
    }
    return
  }
  const message = readMessage(reply.kind === 'stream' ? await collect(reply.chunks, server) : reply.bytes)
  if (reply.kind === 'refused') {
    if (!objectOf(message?.['error']) || !message || isAboutGateway(reply.status)) throw refusedWith(reply, server)
    yield { message, status: reply.status }
    return
  }
  if (!message) throw new AppError('unavailable', `the answer of MCP server "${server}" is no JSON-RPC message`, { origin: 'upstream' })
  yield { message, status: 200 }
}

/** What the server says of the gateway's credentials is not the client's to read, nor what it says when it is broken: as where nothing is translated. */
function isAboutGateway(status: number): boolean {
  return isChallenge(status) || status >= 500
}

function isChallenge(status: number): boolean {
  return status === 401 || status === 403 || status === 407
}

/** An HTTP error that says nothing about the request. A challenge meant for the gateway is not the client's to answer. */
export function refusedWith(reply: Extract<Reply, { kind: 'refused' }>, server: string): AppError {
  const { status } = reply
  const meaning = isChallenge(status) ? `refused the gateway's credentials (HTTP ${status})` : `answered with HTTP ${status}`
  const words = readRedirect(reply) ?? `MCP server "${server}" ${meaning}`
  return new AppError('unavailable', words, { origin: 'upstream', details: { upstream_status: status } })
}

async function collect(chunks: AsyncIterable<Uint8Array>, server: string): Promise<Buffer> {
  const kept: Uint8Array[] = []
  let size = 0
  for await (const chunk of chunks) {
    size += chunk.byteLength
    if (size > MAX_ANSWER)
      throw new AppError('unavailable', `an answer of MCP server "${server}" is larger than ${MAX_ANSWER} bytes`, { origin: 'upstream' })
    kept.push(chunk)
  }
  return Buffer.concat(kept)
}

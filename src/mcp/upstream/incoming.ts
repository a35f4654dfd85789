import { AppError } from '../../lib/errors.ts'
import { findMember, scanMessage, textAt } from '../../lib/json-scan.ts'
import type { ScannedObject, Span } from '../../lib/json-scan.ts'
import { parseJson } from '../response.ts'
import { ANSWER_LIMITS } from './message-batch.ts'

/** An id or progress token in a message: its `keyOf`, and where it stands. */
export interface Mention {
  readonly key: string
  readonly span: Span
}

/** What one line of a stdio server is, as far as routing needs to know. */
export type Incoming =
  | { kind: 'response'; id: Mention; result: Span | undefined }
  | { kind: 'request' }
  | {
      kind: 'notification'
      method: string
      progressToken: Mention | undefined
      subscription: Mention | undefined
      cancels: Mention | undefined
    }
  /** Several messages in an array; each has to be classified by itself. */
  | { kind: 'batch'; elements: readonly Span[] }
  /** A response two readers could take for different ones, or a batch with such: the keys of the ids, and why. */
  | { kind: 'ambiguous'; ids: readonly string[]; reason: string }
  /** Not a JSON-RPC message at all. */
  | { kind: 'garbage' }

/** Which `subscriptions/listen` request a message belongs to: MCP 2026-07-28, basic/patterns/subscriptions. */
const SUBSCRIPTION_META = 'io.modelcontextprotocol/subscriptionId'

export function classifyLine(line: Buffer): Incoming {
  try {
    const message = scanMessage(line, ANSWER_LIMITS)
    return message.kind === 'object' ? classifyObject(line, message) : { kind: 'batch', elements: message.elements }
  } catch (error) {
    if (error instanceof AppError && error.details?.['rpc'] === -32600) return classifyAmbiguous(line, error.message)
    if (error instanceof AppError) return { kind: 'garbage' }
    throw error
  }
}

/** One key for each JSON-RPC id or progress token: numbers by their text, strings by their value however it is escaped. */
export function keyOf(raw: string): string {
  if (!raw.startsWith('"')) return raw
  return raw.includes('\\') ? JSON.stringify(JSON.parse(raw)) : raw
}

/** The request a `notifications/cancelled` is about. */
export function cancelledIdOf(bytes: Buffer): string | undefined {
  return findCancelled(bytes)?.key
}

/** The same, with its place in the message. */
export function findCancelled(bytes: Buffer): Mention | undefined {
  const message = scanMessage(bytes)
  return message.kind === 'object' ? mentionAt(bytes, message.paramsMembers.get('requestId')) : undefined
}

/** Where the id, and the progress token if there is one, stand in a request that was judged before. */
export function findIdAndToken(bytes: Buffer): { id: Span | undefined; progressToken: Span | undefined } {
  const message = scanMessage(bytes, ANSWER_LIMITS)
  if (message.kind !== 'object') return { id: undefined, progressToken: undefined }
  const token = memberOf(bytes, message.paramsMembers.get('_meta'), 'progressToken')
  // A value that is neither text nor number is no token: for the server to refuse, as it stands.
  const isToken = token !== undefined && /^["\d-]/.test(bytes.toString('latin1', token.start, token.start + 1))
  return { id: message.members.get('id'), progressToken: isToken ? token : undefined }
}

/** The subscription that a message names in its params or result. */
export function findSubscription(bytes: Buffer, owner: Span | undefined): Mention | undefined {
  return mentionAt(bytes, memberOf(bytes, memberOf(bytes, owner, '_meta'), SUBSCRIPTION_META))
}

function classifyObject(line: Buffer, message: ScannedObject): Incoming {
  const version = message.members.get('jsonrpc')
  const isRpc = version !== undefined && textAt(line, version) === '"2.0"'
  const isAnswer = message.members.has('result') || message.members.has('error')
  if (message.members.has('method') && !isAnswer) {
    if (!isRpc || message.method === undefined) return { kind: 'garbage' }
    return message.id === undefined ? classifyNotification(line, message, message.method) : { kind: 'request' }
  }
  const id = mentionAt(line, message.members.get('id'))
  if (!id) return { kind: 'garbage' }
  const isClear = isRpc && !message.members.has('method') && message.members.has('result') !== message.members.has('error')
  return isClear
    ? { kind: 'response', id, result: message.members.get('result') }
    : { kind: 'ambiguous', ids: [id.key], reason: 'it is not one clear JSON-RPC response' }
}

function classifyNotification(line: Buffer, message: ScannedObject, method: string): Incoming {
  const { paramsMembers } = message
  return {
    kind: 'notification',
    method,
    progressToken: method === 'notifications/progress' ? mentionAt(line, paramsMembers.get('progressToken')) : undefined,
    subscription: mentionAt(line, memberOf(line, paramsMembers.get('_meta'), SUBSCRIPTION_META)),
    cancels: method === 'notifications/cancelled' ? mentionAt(line, paramsMembers.get('requestId')) : undefined,
  }
}

function memberOf(bytes: Buffer, object: Span | undefined, name: string): Span | undefined {
  return object && findMember(bytes, object, name)
}

function mentionAt(bytes: Buffer, span: Span | undefined): Mention | undefined {
  return span && { key: keyOf(textAt(bytes, span)), span }
}

/** JSON that `scanMessage` refuses. If it answers requests, those must not wait until their deadline. */
function classifyAmbiguous(line: Buffer, reason: string): Incoming {
  const value = parseJson(line)
  const ids = (Array.isArray(value) ? value : [value]).flatMap(answeredBy)
  return ids.length > 0 ? { kind: 'ambiguous', ids, reason } : { kind: 'garbage' }
}

function answeredBy(value: unknown): string[] {
  if (typeof value !== 'object' || value === null || 'method' in value || !('id' in value)) return []
  return typeof value.id === 'string' || typeof value.id === 'number' ? [JSON.stringify(value.id)] : []
}

import { AppError } from '../../lib/errors.ts'
import { findMember, scanMessage, textAt } from '../../lib/json-scan.ts'
import type { ScannedObject, Span } from '../../lib/json-scan.ts'

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
  /** A response two readers could take for different ones: the key of its id, and why. */
  | { kind: 'ambiguous'; id: string; reason: string }
  /** Not a JSON-RPC message at all. */
  | { kind: 'garbage' }

/** Which `subscriptions/listen` request a message belongs to: MCP 2026-07-28, basic/patterns/subscriptions. */
const SUBSCRIPTION_META = 'io.modelcontextprotocol/subscriptionId'

/** Our client has judged its own messages; an answer may be deeper and larger than what we let a client send. */
const LIMITS = { maxDepth: 512, maxKeys: 1_000_000 }

export function classifyLine(line: Buffer): Incoming {
  try {
    const message = scanMessage(line, LIMITS)
    return message.kind === 'object' ? classifyObject(line, message) : { kind: 'garbage' }
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
  const message = scanMessage(bytes, LIMITS)
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
    : { kind: 'ambiguous', id: id.key, reason: 'it is not one clear JSON-RPC response' }
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

/** JSON that `scanMessage` refuses. If it answers a request, that request must not wait until its deadline. */
function classifyAmbiguous(line: Buffer, reason: string): Incoming {
  try {
    const value: unknown = JSON.parse(line.toString('utf8'))
    if (typeof value !== 'object' || value === null || 'method' in value || !('id' in value)) return { kind: 'garbage' }
    const { id } = value
    return typeof id === 'string' || typeof id === 'number' ? { kind: 'ambiguous', id: JSON.stringify(id), reason } : { kind: 'garbage' }
  } catch {
    // Neither reader understands it: a line like any other that is no message.
    return { kind: 'garbage' }
  }
}

import { AppError } from '../../lib/errors.ts'
import { scanMessage, textAt } from '../../lib/json-scan.ts'
import type { ScannedObject } from '../../lib/json-scan.ts'

/** What one line of a stdio server is, as far as routing needs to know. Ids and tokens are keys of `keyOf`. */
export type Incoming =
  | { kind: 'response'; id: string }
  | { kind: 'request' }
  | {
      kind: 'notification'
      method: string
      progressToken: string | undefined
      subscription: string | undefined
      cancels: string | undefined
    }
  /** A response two readers could take for different ones, and why. */
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
  const message = scanMessage(bytes)
  return message.kind === 'object' ? paramKey(bytes, message, 'requestId') : undefined
}

function classifyObject(line: Buffer, message: ScannedObject): Incoming {
  const version = message.members.get('jsonrpc')
  if (!version || textAt(line, version) !== '"2.0"') return { kind: 'garbage' }
  if (message.members.has('method')) {
    if (message.method === undefined) return { kind: 'garbage' }
    return message.id === undefined ? classifyNotification(line, message, message.method) : { kind: 'request' }
  }
  const isAnswer = message.members.has('result') !== message.members.has('error')
  return isAnswer && message.id !== undefined ? { kind: 'response', id: keyOf(message.id) } : { kind: 'garbage' }
}

function classifyNotification(line: Buffer, message: ScannedObject, method: string): Incoming {
  return {
    kind: 'notification',
    method,
    progressToken: method === 'notifications/progress' ? paramKey(line, message, 'progressToken') : undefined,
    subscription: findSubscription(line, message),
    cancels: method === 'notifications/cancelled' ? paramKey(line, message, 'requestId') : undefined,
  }
}

function paramKey(bytes: Buffer, message: ScannedObject, name: string): string | undefined {
  const span = message.paramsMembers.get(name)
  return span && keyOf(textAt(bytes, span))
}

function findSubscription(line: Buffer, message: ScannedObject): string | undefined {
  const span = message.paramsMembers.get('_meta')
  if (!span || !line.includes(SUBSCRIPTION_META)) return undefined
  const meta: unknown = JSON.parse(textAt(line, span))
  if (typeof meta !== 'object' || meta === null) return undefined
  const id: unknown = Object.getOwnPropertyDescriptor(meta, SUBSCRIPTION_META)?.value
  return typeof id === 'string' || typeof id === 'number' ? JSON.stringify(id) : undefined
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

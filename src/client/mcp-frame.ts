import { scanMessage, stringAt, textAt } from '../lib/json-scan.ts'
import type { ScannedObject } from '../lib/json-scan.ts'

/** A line from an MCP client, with what its delivery over HTTP depends on. */
export interface ClientMessage {
  line: Buffer
  kind: 'request' | 'notification' | 'response' | 'batch'
  /** Exact JSON texts of the ids that want an answer. */
  ids: string[]
  method: string
  /** What the header `Mcp-Name` repeats (2026-07-28), when the method has one. */
  name: string | undefined
  /** The revision a message of 2026-07-28 or later names in its `_meta`; earlier ones do not. */
  modernVersion: string | undefined
  /** Of `notifications/cancelled`: the exact JSON text of the id meant. */
  cancels: string | undefined
}

/** A line from the server. */
export interface ServerMessage {
  /** Exact JSON text of the id when this is a response. */
  answers: string | undefined
  /** Of a batch: the ids of its responses. */
  batch: string[]
}

const NAME_MEMBER: Record<string, string> = {
  'tools/call': 'name',
  'prompts/get': 'name',
  'resources/read': 'uri',
  'tasks/get': 'taskId',
  'tasks/update': 'taskId',
  'tasks/cancel': 'taskId',
}

/** Throws `invalid_argument` with `details.rpc` for a line that is no unambiguous JSON-RPC message. */
export function classifyClientLine(line: Buffer): ClientMessage {
  const scanned = scanMessage(line)
  if (scanned.kind === 'array') {
    const ids = scanned.elements.flatMap((span) => {
      const element = scanMessage(line.subarray(span.start, span.end))
      return element.kind === 'object' && element.method !== undefined && element.id !== undefined ? [element.id] : []
    })
    return { line, kind: 'batch', ids, method: '', name: undefined, modernVersion: undefined, cancels: undefined }
  }
  const method = scanned.method ?? ''
  const kind = scanned.method === undefined ? 'response' : scanned.id === undefined ? 'notification' : 'request'
  const nameSpan = scanned.paramsMembers.get(NAME_MEMBER[method] ?? '')
  const cancelSpan = method === 'notifications/cancelled' ? scanned.paramsMembers.get('requestId') : undefined
  return {
    line,
    kind,
    method,
    ids: kind === 'request' && scanned.id !== undefined ? [scanned.id] : [],
    name: nameSpan && stringAt(line, nameSpan),
    modernVersion: findModernVersion(line, scanned),
    cancels: cancelSpan && textAt(line, cancelSpan),
  }
}

/** Whether its answer comes only at its end: `subscriptions/listen` of 2026-07-28. */
export function isSubscription({ method, modernVersion }: ClientMessage): boolean {
  return method === 'subscriptions/listen' && modernVersion !== undefined
}

/** Undefined for what is not one JSON-RPC message; such a line must not reach the client. */
export function classifyServerLine(line: Uint8Array): ServerMessage | undefined {
  try {
    const scanned = scanMessage(line)
    if (scanned.kind === 'object') return { answers: answeredId(scanned), batch: [] }
    const elements = scanned.elements.map((span) => scanMessage(line.subarray(span.start, span.end)))
    return {
      answers: undefined,
      batch: elements.map((element) => (element.kind === 'object' ? answeredId(element) : undefined)).filter((id) => id !== undefined),
    }
  } catch {
    return undefined
  }
}

function answeredId(scanned: ScannedObject): string | undefined {
  return scanned.members.has('result') || scanned.members.has('error') ? scanned.id : undefined
}

/** Headers of one POST (Streamable HTTP, 2026-07-28 and before). */
export function headersFor(message: ClientMessage, session: SessionFacts): Record<string, string> {
  const headers: Record<string, string> = { accept: 'application/json, text/event-stream', 'content-type': 'application/json' }
  if (message.modernVersion !== undefined) {
    headers['mcp-protocol-version'] = message.modernVersion
    headers['mcp-method'] = message.method
    if (message.name !== undefined) headers['mcp-name'] = encodeHeaderValue(message.name)
    return headers
  }
  if (message.method === 'initialize') return headers
  return { ...headers, ...sessionHeaders(session) }
}

export interface SessionFacts {
  sessionId: string | undefined
  protocolVersion: string | undefined
}

/** What every request within a session of a revision before 2026-07-28 carries. */
export function sessionHeaders({ sessionId, protocolVersion }: SessionFacts): Record<string, string> {
  return {
    ...(sessionId === undefined ? {} : { 'mcp-session-id': sessionId }),
    ...(protocolVersion === undefined ? {} : { 'mcp-protocol-version': protocolVersion }),
  }
}

/** The exact id and error of a JSON-RPC error response. */
export function findRefusal(body: Buffer): { id: string | undefined; error: string } | undefined {
  try {
    const scanned = scanMessage(body)
    const error = scanned.kind === 'object' && scanned.members.has('jsonrpc') ? scanned.members.get('error') : undefined
    return scanned.kind === 'object' && error ? { id: scanned.id, error: textAt(body, error) } : undefined
  } catch {
    return undefined
  }
}

/** Plain where a header can hold it, else `=?base64?…?=` (2026-07-28, standard headers). */
function encodeHeaderValue(value: string): string {
  const isPlain = /^[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?$/.test(value) && !(value.startsWith('=?base64?') && value.endsWith('?='))
  return isPlain ? value : `=?base64?${Buffer.from(value).toString('base64')}?=`
}

function findModernVersion(line: Buffer, scanned: ScannedObject): string | undefined {
  const span = scanned.paramsMembers.get('_meta')
  if (!span) return undefined
  const meta: unknown = JSON.parse(textAt(line, span))
  const version: unknown =
    typeof meta === 'object' && meta !== null ? Reflect.get(meta, 'io.modelcontextprotocol/protocolVersion') : undefined
  return typeof version === 'string' && /^[\x21-\x7e]{1,64}$/.test(version) ? version : undefined
}

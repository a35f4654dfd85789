import { AppError, toAppError } from '../lib/errors.ts'

/** What the bracket at the head of a message says; agents and people search for these words. */
export type McpErrorCode =
  | 'MCP_TELEPORT_LOGIN_REQUIRED'
  | 'MCP_SESSION_EXPIRED'
  | 'MCP_TELEPORT_ERROR'
  | 'MCP_UPSTREAM_UNREACHABLE'
  | 'MCP_UPSTREAM_ERROR'
  | 'MCP_CONNECTION_TIMEOUT'
  | 'MCP_SERVER_CHANGED'
  | 'MCP_NETWORK_UNAVAILABLE'
  | 'MCP_PROTOCOL_ERROR'
  | 'MCP_REQUEST_FAILED'

const SHOWN_BODY_BYTES = 256

/** An error of the bridge with its bracket. */
export function bridgeError(mcp: McpErrorCode, message: string, cause?: unknown): AppError {
  return new AppError('unavailable', message, { details: { mcp }, cause })
}

/** What an HTTP error of the proxy or the server behind it means for the client. `body` is the beginning of the answer. */
export function errorOfStatus(status: number, body: Buffer, hasSession: boolean): AppError {
  const said = messageOf(body)
  const text = said ?? `HTTP ${status}: ${body.subarray(0, SHOWN_BODY_BYTES).toString().replace(/\s+/g, ' ').trim() || 'no further words'}`
  if (status === 401) return bridgeError('MCP_TELEPORT_LOGIN_REQUIRED', text)
  if (status === 404 && hasSession)
    return bridgeError('MCP_SESSION_EXPIRED', 'the MCP session has ended on the server: send the request again, or restart the MCP client')
  if (status === 502 || status === 503) return bridgeError('MCP_UPSTREAM_UNREACHABLE', text)
  if (status === 504 || status === 408) return bridgeError('MCP_CONNECTION_TIMEOUT', text)
  return bridgeError(said === undefined ? 'MCP_UPSTREAM_ERROR' : 'MCP_TELEPORT_ERROR', text)
}

/** The error answer to a request that could not be delivered, one line. */
export function renderErrorLine(idText: string, thrown: unknown): Buffer {
  const { message, raw } = explain(thrown)
  return Buffer.from(`{"jsonrpc":"2.0","id":${idText},"error":${JSON.stringify({ code: -32603, message, data: raw })}}`)
}

/** What the client is told of a notification or answer that could not be delivered. */
export function renderLostNotice(thrown: unknown): Buffer {
  return Buffer.from(JSON.stringify({ jsonrpc: '2.0', method: 'notifications/tsherr', params: { error: explain(thrown).message } }))
}

/** The answer to a line that is not a message. */
export function renderParseError(thrown: unknown): Buffer {
  const error = toAppError(thrown)
  const code = error.details?.['rpc'] === -32600 ? -32600 : -32700
  return Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: null, error: { code, message: error.message } }))
}

/** The sentence for people with its bracket, and the bare reason. */
export function explain(thrown: unknown): { message: string; raw: string } {
  const error = toAppError(thrown)
  const code = codeOf(error)
  const cause = error.cause instanceof Error ? error.cause.message : error.message
  const relogin = code === 'MCP_TELEPORT_LOGIN_REQUIRED' ? ' — then repeat the request; the MCP client needs no restart' : ''
  return { message: `[${code}] ${error.message}${relogin}`, raw: cause }
}

const PASSING: ReadonlySet<string> = new Set<McpErrorCode>([
  'MCP_TELEPORT_LOGIN_REQUIRED',
  'MCP_UPSTREAM_UNREACHABLE',
  'MCP_CONNECTION_TIMEOUT',
  'MCP_NETWORK_UNAVAILABLE',
])

/** Whether a failure says nothing of what the server offers: signing in, or waiting, makes it go away. */
export function isPassing(thrown: unknown): boolean {
  return PASSING.has(codeOf(toAppError(thrown)))
}

function codeOf(error: AppError): string {
  const named = error.details?.['mcp']
  if (typeof named === 'string') return named
  if (error.code === 'unauthenticated') return 'MCP_TELEPORT_LOGIN_REQUIRED'
  if (error.code === 'deadline_exceeded') return 'MCP_CONNECTION_TIMEOUT'
  if (error.details?.['network'] === true) return 'MCP_NETWORK_UNAVAILABLE'
  return error.code === 'internal' ? 'MCP_REQUEST_FAILED' : 'MCP_TELEPORT_ERROR'
}

/** `error.message` of our own API errors. */
function messageOf(body: Buffer): string | undefined {
  try {
    const parsed: unknown = JSON.parse(body.toString())
    const error: unknown = typeof parsed === 'object' && parsed !== null ? Reflect.get(parsed, 'error') : undefined
    const message: unknown = typeof error === 'object' && error !== null ? Reflect.get(error, 'message') : undefined
    return typeof message === 'string' ? message : undefined
  } catch {
    return undefined
  }
}

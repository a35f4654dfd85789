import { AppError } from '../lib/errors.ts'
import { bridgeError } from './mcp-errors.ts'
import type { ClientMessage } from './mcp-frame.ts'

/**
 * What has been agreed in the session of a client that speaks a revision before 2026-07-28, kept so that the client need not notice when
 * the server's side of it is lost.
 */
export interface Handshake {
  /** The `Mcp-Session-Id` to send, if the server gave one. */
  sessionId: string | undefined
  protocolVersion: string | undefined
  initialize: ClientMessage | undefined
  initialized: ClientMessage | undefined
  /** Canonical JSON of the server's `serverInfo`. */
  serverInfo: string | undefined
  /** The server's side is lost: initialize again before the next message. */
  stale: boolean
  /** What is noted is what the server answered another time: it may have become another version of itself since. */
  isAssumed: boolean
}

export function createHandshake(): Handshake {
  return {
    sessionId: undefined,
    protocolVersion: undefined,
    initialize: undefined,
    initialized: undefined,
    serverInfo: undefined,
    stale: false,
    isAssumed: false,
  }
}

/** Notes what the answer to `initialize` says. An error answer leaves the handshake undone. */
export function noteInitializeAnswer(handshake: Handshake, line: Uint8Array, sessionId: string | undefined): void {
  const result = resultOf(line)
  if (!result) return
  handshake.serverInfo = JSON.stringify(result['serverInfo'] ?? null)
  const version = result['protocolVersion']
  handshake.protocolVersion = typeof version === 'string' && /^[\x21-\x7e]{1,64}$/.test(version) ? version : undefined
  handshake.sessionId = sessionId
  handshake.stale = false
  handshake.isAssumed = false
}

/** Whether the server that answered a replayed `initialize` is the one the client knows. Throws what the client is to be told otherwise. */
export function checkSameServer(handshake: Handshake, line: Uint8Array): void {
  const result = resultOf(line)
  if (!result) throw bridgeError('MCP_UPSTREAM_ERROR', 'the server refused to take up the session again: restart the MCP client')
  const serverInfo = JSON.stringify(result['serverInfo'] ?? null)
  const isSame = handshake.isAssumed
    ? nameOf(serverInfo) === nameOf(handshake.serverInfo) && result['protocolVersion'] === handshake.protocolVersion
    : serverInfo === handshake.serverInfo
  if (!isSame) throw bridgeError('MCP_SERVER_CHANGED', 'another server, or another version of it, answers now: restart the MCP client')
}

/** The two messages to repeat; throws when the client never finished its own initialisation. */
export function requireHandshake(handshake: Handshake): { initialize: ClientMessage; initialized: ClientMessage } {
  const { initialize, initialized } = handshake
  if (!initialize || !initialized || handshake.serverInfo === undefined)
    throw new AppError(
      'failed_precondition',
      'the connection was lost before the MCP client finished its initialisation: restart the MCP client',
    )
  return { initialize, initialized }
}

function nameOf(serverInfo: string | undefined): unknown {
  const parsed: unknown = JSON.parse(serverInfo ?? 'null')
  return typeof parsed === 'object' && parsed !== null ? Reflect.get(parsed, 'name') : undefined
}

function resultOf(line: Uint8Array): Record<string, unknown> | undefined {
  const parsed: unknown = JSON.parse(Buffer.from(line).toString())
  const result: unknown = typeof parsed === 'object' && parsed !== null ? Reflect.get(parsed, 'result') : undefined
  return typeof result === 'object' && result !== null && !Array.isArray(result) ? { ...result } : undefined
}

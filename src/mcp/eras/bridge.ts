import type { Logger } from '../../lib/log.ts'

/** What translating between the eras needs from outside. */
export interface BridgeDeps {
  /** Name of the MCP server, for what callers are told. */
  server: string
  /** Milliseconds since the epoch. */
  now: () => number
  random(bytes: number): Buffer
  log: Logger
  /** Of this gateway: who it says it is where a client does not say who it is. */
  version: string
}

/** Keys of `_meta` that the modern revision defines (2026-07-28, basic, `_meta`). */
export const META = {
  version: 'io.modelcontextprotocol/protocolVersion',
  capabilities: 'io.modelcontextprotocol/clientCapabilities',
  client: 'io.modelcontextprotocol/clientInfo',
  logLevel: 'io.modelcontextprotocol/logLevel',
  server: 'io.modelcontextprotocol/serverInfo',
  subscription: 'io.modelcontextprotocol/subscriptionId',
} as const

/** The revision that is spoken to modern servers. */
export const MODERN_REVISION = '2026-07-28'
/** The newest revision with a handshake: what is spoken to legacy servers, and to legacy clients that ask for one that is not known. */
export const LAST_LEGACY_REVISION = '2025-11-25'

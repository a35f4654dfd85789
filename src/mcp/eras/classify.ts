import { AppError } from '../../lib/errors.ts'
import { type ClientMessage, type Fields, fieldsOf } from '../message.ts'
import { findMethod } from '../methods.ts'
import { decodeHeaderValue } from './header-value.ts'
import { isLegacy, isModern, LEGACY_ONLY, MODERN_REVISIONS } from './revisions.ts'

const VERSION_KEY = 'io.modelcontextprotocol/protocolVersion'
const CAPABILITIES_KEY = 'io.modelcontextprotocol/clientCapabilities'
const CLIENT_KEY = 'io.modelcontextprotocol/clientInfo'

const HEADER_MISMATCH = -32020
const UNSUPPORTED_VERSION = -32022

/** How a POST has to be treated. */
export type Dialect =
  /** Opens a session. */
  | { era: 'legacy'; opens: true }
  /** Belongs to the session its header names. */
  | { era: 'legacy'; opens: false }
  /** Stands for itself. */
  | { era: 'modern'; revision: string; clientInfo: string | undefined }

type Headers = Readonly<Record<string, string>>

/**
 * Tells the eras apart and makes the checks that belong to the modern one (2026-07-28, Streamable HTTP, in the order of its server rules).
 * @throws AppError invalid_argument with `details.rpc`; to be answered with HTTP 400.
 */
export function classify(messages: readonly ClientMessage[], batch: boolean, headers: Headers): Dialect {
  const version = headers['mcp-protocol-version']
  const [message] = messages
  if (batch || !message) {
    if (isModern(version) || messages.some((one) => claimOf(one) !== undefined)) throw refused(-32600, 'this revision has no batches')
    return legacy(version, false)
  }
  const claim = claimOf(message)
  if (message.kind === 'response' && isModern(version)) throw refused(-32600, 'this revision has no posted responses')
  if (message.method === 'initialize' && typeof claim !== 'string') {
    if (isModern(version)) throw refused(HEADER_MISMATCH, 'initialize does not belong to the revision of MCP-Protocol-Version')
    return legacy(version, true)
  }
  if (claim === undefined) {
    if (isModern(version)) throw refused(-32602, `_meta["${VERSION_KEY}"] is missing`)
    return legacy(version, false)
  }
  return checkModern(message, claim, headers)
}

/** Without the header the revision of the session counts (2025-06-18, Streamable HTTP), for every client: Gemini CLI 0.61 never sends it. */
function legacy(version: string | undefined, opens: boolean): Dialect {
  if (version !== undefined && !isLegacy(version)) throw refused(-32600, `MCP-Protocol-Version ${JSON.stringify(version)} is not supported`)
  return { era: 'legacy', opens }
}

function checkModern(message: ClientMessage, claim: unknown, headers: Headers): Dialect {
  if (typeof claim !== 'string') throw refused(-32602, `_meta["${VERSION_KEY}"] must be a string`)
  const meta = fieldsOf(message.params['_meta'])
  const isRequest = message.kind === 'request'
  if (isRequest && !fieldsOf(meta?.[CAPABILITIES_KEY])) throw refused(-32602, `_meta["${CAPABILITIES_KEY}"] must be an object`)
  if (headers['mcp-protocol-version']?.trim() !== claim)
    throw refused(HEADER_MISMATCH, 'MCP-Protocol-Version and _meta name different revisions')
  const method = headers['mcp-method']?.trim()
  if (isRequest && method !== undefined && method !== message.method)
    throw refused(HEADER_MISMATCH, 'Mcp-Method and the method of the body differ')
  if (!isModern(claim)) {
    const shown = claim.slice(0, 100)
    throw refused(UNSUPPORTED_VERSION, `revision ${JSON.stringify(shown)} is not supported`, {
      supported: MODERN_REVISIONS,
      requested: shown,
    })
  }
  if (isRequest) {
    if (method === undefined) throw refused(HEADER_MISMATCH, 'the header Mcp-Method is missing')
    checkName(message, headers)
    if (LEGACY_ONLY.has(message.method)) throw notInThisRevision(message.method)
  }
  return { era: 'modern', revision: claim, clientInfo: clientInfoText(meta?.[CLIENT_KEY]) }
}

/** Intermediaries that read the body compare the headers with it; the body is what is judged. */
function checkName(message: ClientMessage, headers: Headers): void {
  const member = findMethod(message.method)?.header
  if (!member) return
  const name = message.params[member]
  if (typeof name !== 'string') return
  const header = headers['mcp-name']
  if (header === undefined || decodeHeaderValue(header) !== name) throw refused(HEADER_MISMATCH, `Mcp-Name and params.${member} differ`)
}

function notInThisRevision(method: string): AppError {
  const supported = MODERN_REVISIONS.join(', ')
  return new AppError('unimplemented', `${method} is no method of this revision (supported with _meta: ${supported})`, {
    details: { http: 404, rpc: -32601 },
  })
}

function claimOf(message: ClientMessage): unknown {
  return fieldsOf(message.params['_meta'])?.[VERSION_KEY]
}

/** `name/version` of a clientInfo or serverInfo: unverified, for people to read only. */
export function clientInfoText(info: unknown): string | undefined {
  const fields: Fields | undefined = fieldsOf(info)
  if (typeof fields?.['name'] !== 'string') return undefined
  const version = fields['version']
  return `${fields['name']}/${typeof version === 'string' ? version : ''}`.slice(0, 200)
}

function refused(rpc: number, message: string, facts?: Record<string, unknown>): AppError {
  return new AppError('invalid_argument', message, { details: { rpc, ...(facts ? { data: facts } : {}) } })
}

import { AppError } from '../../lib/errors.ts'

/** Codes of Node, OpenSSL and our HTTP client for a server that cannot be reached or went away, in words. */
const UNREACHABLE: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EPIPE: 'connection closed',
  WIRE_CLOSED: 'connection closed',
  WIRE_SHUT: 'connection closed',
  ENOTFOUND: 'host name not found',
  EAI_AGAIN: 'host name lookup failed',
  EHOSTUNREACH: 'host unreachable',
  ENETUNREACH: 'network unreachable',
  EADDRNOTAVAIL: 'address not available',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is self-signed and not trusted',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate chain is not trusted',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate is not trusted',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'the issuer of its certificate is not trusted',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another host name',
}

const TOO_SLOW: Readonly<Record<string, string>> = {
  WIRE_CONNECT_TIMEOUT: 'could not be connected to in time',
  ETIMEDOUT: 'could not be connected to in time',
  WIRE_HEADERS_TIMEOUT: 'did not begin to answer in time',
}

/** What an error of the HTTP client means to the caller. An `AppError` passes as it is. */
export function toFault(server: string, error: Error): AppError {
  if (error instanceof AppError) return error
  const code = codeOf(error)
  const slow = TOO_SLOW[code]
  if (slow) return new AppError('deadline_exceeded', `MCP server "${server}" ${slow}`, { origin: 'upstream_unreachable', cause: error })
  if (code === 'WIRE_FULL') return tooMany(server, error)
  if (code === 'WIRE_HEADER') return new AppError('invalid_argument', 'a header of the message cannot be sent', { cause: error })
  if (code === 'WIRE_PROTOCOL') return notProtocol(server, `its answer is not valid HTTP (${error.message})`, error)
  const words = UNREACHABLE[code] ?? (code || 'connection failed')
  return new AppError('unavailable', `cannot reach MCP server "${server}": ${words}`, {
    origin: 'upstream_unreachable',
    cause: error,
    details: { cause: code },
  })
}

export function tooMany(server: string, cause?: unknown): AppError {
  return new AppError('resource_exhausted', `MCP server "${server}" has as many requests and streams open as it may`, { cause })
}

/** The server is there but does not speak streamable HTTP as MCP defines it. */
export function notProtocol(server: string, what: string, cause?: unknown): AppError {
  return new AppError('unavailable', `MCP server "${server}" does not follow the protocol: ${what}`, { origin: 'upstream', cause })
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : ''
}

import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { AppError } from '../../lib/errors.ts'
import type { PlainRequest } from '../../lib/http-wire/plain-request.ts'
import { isLoopbackHost } from '../../lib/loopback.ts'
import { findMcpEndpoint } from '../../resources/mcp-endpoint.ts'
import { WELL_KNOWN } from '../../resources/oauth-paths.ts'

/** What a challenge says again of the request. */
export interface Asked {
  url?: string | undefined
  headers: { host?: string | undefined; authorization?: string | undefined }
  socket: Socket
}

/** A request of our own server. */
export function askedBy({ target, headers }: PlainRequest, socket: Socket): Asked {
  return { url: target, headers, socket }
}

/** What a client asks for unless it knows better. */
const SCOPE = 'mcp'

/**
 * The header `WWW-Authenticate` of a refusal: where to find out who issues tokens for this endpoint (RFC 9728 section 5.1), and what was wrong
 * with the one that was sent (RFC 6750 section 3; without one, no error is named). Undefined for a refusal that no other token would change.
 */
export function challengeFor(asked: Asked, status: number, error: AppError): string | undefined {
  const lacksScope = error.details?.['challenge'] === 'insufficient_scope'
  if (status !== 401 && !lacksScope) return undefined
  const parameters = ['realm="sallyport"']
  const code = lacksScope ? 'insufficient_scope' : codeOf(asked, error)
  if (code !== undefined) parameters.push(`error="${code}"`)
  const documents = metadataUrl(asked)
  if (documents !== undefined) parameters.push(`resource_metadata="${documents}"`)
  parameters.push(`scope="${SCOPE}"`)
  return /^dpop /i.test(asked.headers.authorization ?? '')
    ? `DPoP ${parameters.join(', ')}, algs="ES256 EdDSA"`
    : `Bearer ${parameters.join(', ')}`
}

function codeOf({ headers }: Asked, { details }: AppError): string | undefined {
  if (headers.authorization === undefined) return undefined
  const challenge = details?.['challenge']
  return challenge === 'invalid_dpop_proof' || challenge === 'use_dpop_nonce' ? challenge : 'invalid_token'
}

/** At the address that the client used, which was checked before: it compares the document with that. */
function metadataUrl(asked: Asked): string | undefined {
  const path = pathOf(asked)
  const origin = findMcpEndpoint(path) && originOf(asked)
  return origin && `${origin}${WELL_KNOWN.protectedResource}${path.replaceAll('"', '%22')}`
}

/** The URL that a client called, without its query, as far as its Host names one. */
export function urlOf(asked: Asked): string | undefined {
  const origin = originOf(asked)
  return origin && `${origin}${pathOf(asked)}`
}

function pathOf({ url = '' }: Asked): string {
  return url.split('?', 1)[0] ?? ''
}

/** Off loopback clients come over TLS, also where a proxy before us ends it. */
function originOf({ headers: { host = '' }, socket }: Asked): string | undefined {
  const parsed = URL.parse(`http://${host}`)
  if (!parsed) return undefined
  const scheme = socket instanceof TLSSocket || !isLoopbackHost(parsed.hostname) ? 'https' : 'http'
  return new URL(`${scheme}://${host}`).origin
}

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
  const code = lacksScope ? 'insufficient_scope' : asked.headers.authorization === undefined ? undefined : 'invalid_token'
  const documents = metadataUrl(asked)
  const parameters = [
    'realm="sallyport"',
    ...(code === undefined ? [] : [`error="${code}"`]),
    ...(documents === undefined ? [] : [`resource_metadata="${documents}"`]),
    `scope="${SCOPE}"`,
  ]
  return `Bearer ${parameters.join(', ')}`
}

/** At the address that the client used, which was checked before: it compares the document with that. */
function metadataUrl({ url = '', headers: { host = '' }, socket }: Asked): string | undefined {
  const [path = ''] = url.split('?', 1)
  if (!findMcpEndpoint(path)) return undefined
  const isTls = socket instanceof TLSSocket
  const parsed = URL.parse(`http://${host}`)
  if (!parsed) return undefined
  const scheme = isTls || !isLoopbackHost(parsed.hostname) ? 'https' : 'http'
  return `${new URL(`${scheme}://${host}`).origin}${WELL_KNOWN.protectedResource}${path.replaceAll('"', '%22')}`
}

import { isLoopbackHost } from '../../../lib/loopback.ts'
import { findMcpEndpoint, renderMcpEndpoint } from '../../../resources/mcp-endpoint.ts'

/** The URL of this authorization server (RFC 8414 section 2): https, except on loopback, where no certificate is trusted by anybody. */
export function issuerOf(publicAddress: string): string {
  return originOf(publicAddress)
}

/** `https://HOST[:PORT]` of a `HOST:PORT` as clients write it; `http` on loopback. */
export function originOf(address: string): string {
  const { hostname } = new URL(`http://${address}`)
  return new URL(`${isLoopbackHost(hostname) ? 'http' : 'https'}://${address}`).origin
}

/**
 * What a token for `resource` (RFC 8707) is worth something at: the endpoint of this cluster that the URL names, in the one spelling in which
 * audiences are compared. Undefined for every other URL: a token that another server asked for must not open anything here.
 */
export function findAudience(resource: string, issuer: string, addresses: readonly string[]): string | undefined {
  const url = URL.parse(resource)
  if (!url || url.hash !== '' || url.search !== '' || url.username !== '' || url.password !== '') return undefined
  const own = [issuer, ...addresses.flatMap((address) => [originOf(address), `https://${address}`])]
  if (!own.some((origin) => URL.parse(origin)?.origin === url.origin) && !isSameLoopback(url, new URL(issuer))) return undefined
  const endpoint = findMcpEndpoint(url.pathname)
  return endpoint && issuer + renderMcpEndpoint(endpoint)
}

/** `localhost` and `127.0.0.1` are one machine, under whichever name a client was given it. */
function isSameLoopback(url: URL, issuer: URL): boolean {
  return isLoopbackHost(url.hostname) && isLoopbackHost(issuer.hostname) && url.port === issuer.port
}

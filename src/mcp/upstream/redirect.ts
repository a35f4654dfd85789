import type { Reply } from './upstream.ts'

type Refusal = Extract<Reply, { kind: 'refused' }>

/**
 * A redirect is not followed: it would take the gateway's credentials, and what callers say, to where nobody has registered a server.
 * @param location as the server gives it; its query is not shown.
 */
export function refuseRedirect(server: string, status: number, location = ''): Refusal {
  const target = location.startsWith('/') && !location.startsWith('//') ? URL.parse(location, 'http://x')?.pathname : shownUrl(location)
  const where = target === undefined ? '' : ` to ${target}`.slice(0, 300)
  const text = `MCP server "${server}" redirects${where} (HTTP ${status}); redirects are not followed: set spec.uri to the final address`
  return { kind: 'refused', status, bytes: Buffer.from(text), contentType: 'text/plain' }
}

/** What `refuseRedirect` said; undefined for every other refusal. */
export function readRedirect({ status, bytes }: Refusal): string | undefined {
  return status >= 300 && status < 400 ? bytes.toString('utf8') : undefined
}

function shownUrl(location: string): string | undefined {
  const url = URL.parse(location)
  return url ? `${url.origin}${url.pathname}` : undefined
}

import type { IncomingMessage } from 'node:http'
import { AppError } from '../lib/errors.ts'
import type { Connection } from './credentials.ts'
import { createProxyHttp } from './proxy-http.ts'
import type { ProxyHttp } from './proxy-http.ts'
import { renderMcpEndpoint } from '../resources/mcp-endpoint.ts'
import { fetchAssertion, fetchEndpointToken } from './servers.ts'

/** One server, at its own MCP endpoint unless told where; or the path of an endpoint of several. */
export type McpPlace = { server: string; path?: string } | { server?: undefined; path: string }

export type McpEndpointOptions = McpPlace & {
  /** Opens a connection with the credentials of this moment: a new sign-in counts without a restart. */
  open: () => Promise<Connection>
  /** Sent with every request; names in lower case. */
  headers?: Record<string, string>
  now: () => number
}

export interface McpRequest {
  method: 'POST' | 'GET' | 'DELETE'
  headers: Record<string, string>
  body?: Uint8Array
  repeatable?: boolean
  signal: AbortSignal
  onSent?: () => void
}

/** An MCP endpoint behind the proxy. Every request carries a token that is good for this endpoint alone: for one server a route assertion. */
export interface McpEndpoint {
  send(request: McpRequest): Promise<IncomingMessage>
  close(): void
}

/** A token this near to its end is replaced. */
const RENEW_BEFORE_MS = 60_000
const CONNECT_TIMEOUT_MS = 30_000
/** Connections with so many certificates are kept, that in use among them. */
const MAX_LINKS = 8

/** Contacts nobody before the first request. A 401 is answered by one fresh token and one more try: the request was not acted on. */
export function createMcpEndpoint({
  server,
  path = renderMcpEndpoint({ type: 'app', name: server ?? '' }),
  open,
  headers: extra = {},
  now,
}: McpEndpointOptions): McpEndpoint {
  let held: { token: string; expiresAt: number } | undefined
  let fetching: Promise<string> | undefined
  let link: Link | undefined
  const links = new Set<ProxyHttp>()

  async function fetchFresh(): Promise<string> {
    const connection = await open()
    try {
      held = await (server === undefined ? fetchEndpointToken(connection.api, path) : fetchAssertion(connection.api, server))
      link = relink(link, connection)
      links.add(link.http)
      closeOldest(links)
      return held.token
    } finally {
      connection.close()
    }
  }

  function findToken(): Promise<string> {
    if (held && link && held.expiresAt - now() > RENEW_BEFORE_MS) return Promise.resolve(held.token)
    fetching ??= fetchFresh().finally(() => (fetching = undefined))
    return fetching
  }

  async function attempt(request: McpRequest): Promise<IncomingMessage> {
    const bearer = await findToken()
    if (!link) throw new AppError('internal', 'no proxy to send to')
    return await sendWithin(link.http, CONNECT_TIMEOUT_MS, {
      ...request,
      path,
      headers: { ...extra, ...request.headers, authorization: `Bearer ${bearer}` },
    })
  }

  return {
    async send(request) {
      const answer = await attempt(request)
      if (answer.statusCode !== 401) return answer
      answer.resume()
      held = undefined
      return await attempt(request)
    },
    close: () => {
      for (const http of links) http.close()
    },
  }
}

/** Certificates are renewed for as long as a client runs: what was under way on one of long ago has ended with it. */
function closeOldest(links: Set<ProxyHttp>): void {
  const [oldest] = links
  if (links.size <= MAX_LINKS || !oldest) return
  links.delete(oldest)
  oldest.close()
}

interface Link {
  key: string
  http: ProxyHttp
}

/**
 * Keeps the connections to the proxy unless the new credentials are another certificate, name another proxy or other authorities. What is under
 * way on those of before may end.
 */
function relink(link: Link | undefined, { proxy, trust }: Connection): Link {
  if (!proxy || !trust) throw new AppError('failed_precondition', 'MCP servers are reached through a proxy: run tsh login')
  const key = JSON.stringify([proxy, trust])
  return link?.key === key ? link : { key, http: createProxyHttp({ proxy, ...trust, alpn: ['http/1.1'] }) }
}

/** Bounds the time until the request is on its way, not the time until it is answered. */
async function sendWithin(http: ProxyHttp, timeoutMs: number, request: Parameters<ProxyHttp['send']>[0]): Promise<IncomingMessage> {
  const timeout = new AbortController()
  const timer = setTimeout(() => timeout.abort(new DOMException('not connected in time', 'TimeoutError')), timeoutMs)
  try {
    return await http.send({
      ...request,
      signal: AbortSignal.any([request.signal, timeout.signal]),
      onSent: () => {
        clearTimeout(timer)
        request.onSent?.()
      },
    })
  } finally {
    clearTimeout(timer)
  }
}

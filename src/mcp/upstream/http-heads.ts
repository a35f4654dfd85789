import { beginHead, renderField } from '../../lib/http-wire/request-head.ts'
import type { Headers } from './own-headers.ts'

/** The heads of the requests of one session; what they have in common is rendered once. Each throws WireFault WIRE_HEADER. */
export interface Heads {
  post(headers: Readonly<Record<string, string>>, sessionId: string | undefined): string
  /** Opens the stream of the session, where the client left it. */
  get(headers: Readonly<Record<string, string>>, sessionId: string | undefined): string
  /** Ends the session. */
  delete(protocolVersion: string | undefined, sessionId: string): string
}

/** The heads for the gateway's own headers as they are now; they win over everything else. */
export class HeadsOf {
  readonly #url: URL
  #own: Headers | undefined
  #heads: Heads | undefined

  constructor(url: URL) {
    this.#url = url
  }

  /** Those of the last request, if there was one. */
  get latest(): Heads | undefined {
    return this.#heads
  }

  of(own: Headers): Heads {
    if (!this.#heads || this.#own !== own) this.#heads = createHeads(this.#url, lowerCase(own))
    this.#own = own
    return this.#heads
  }
}

function lowerCase(headers: Headers): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
}

const VERSION = 'mcp-protocol-version'
/** `accept` is ours, since we read the answer. */
const ACCEPT = 'application/json, text/event-stream'

function createHeads({ pathname, search, host }: URL, fixed: Headers): Heads {
  const path = pathname + search
  const begun = beginHead('POST', path, host, { 'content-type': 'application/json', accept: ACCEPT, ...fixed })
  const own = (name: string, value: string | undefined): string => (value === undefined || name in fixed ? '' : renderField(name, value))
  const render = (method: string, accept: string): string => beginHead(method, path, host, { accept, ...fixed })
  const protocolFields = (headers: Headers): string => own(VERSION, headers[VERSION]) + otherFields(headers)
  const otherFields = (headers: Headers): string => {
    let text = ''
    for (const name in headers) if (name !== VERSION && isProtocolHeader(name)) text += own(name, headers[name])
    return text
  }
  /** Of requests in one session all that is mostly the same. */
  let latest: { sessionId: string; version: string; head: string } | undefined
  const headIn = (sessionId: string, version: string): string => {
    if (latest?.sessionId !== sessionId || latest.version !== version)
      latest = { sessionId, version, head: begun + own('mcp-session-id', sessionId) + own(VERSION, version) }
    return latest.head
  }
  return {
    post: (headers, sessionId) => {
      const { [VERSION]: version } = headers
      if (sessionId !== undefined && version !== undefined) return headIn(sessionId, version) + otherFields(headers)
      return begun + own('mcp-session-id', sessionId) + protocolFields(headers)
    },
    get: (headers, sessionId) =>
      render('GET', 'text/event-stream') +
      own('mcp-session-id', sessionId) +
      own('last-event-id', headers['last-event-id']) +
      protocolFields(headers),
    delete: (protocolVersion, sessionId) =>
      render('DELETE', ACCEPT) + own('mcp-session-id', sessionId) + own('mcp-protocol-version', protocolVersion),
  }
}

/** Of the client's headers only what MCP defines goes on (MCP 2026-07-28, basic/transports). */
function isProtocolHeader(name: string): boolean {
  return name === VERSION || name === 'mcp-method' || name === 'mcp-name' || name.startsWith('mcp-param-')
}

type Headers = Readonly<Record<string, string>>

/** Of the protocol itself, or of one message: made anew for each member. */
const OWN = new Set([
  'accept',
  'content-type',
  'content-length',
  'last-event-id',
  'mcp-session-id',
  'mcp-protocol-version',
  'mcp-method',
  'mcp-name',
])

/** The client's headers that say nothing about one message. */
export function neutralHeaders(headers: Headers): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !OWN.has(name) && !name.startsWith('mcp-param-')))
}

/** The headers that repeat arguments of a tool (2026-07-28, Streamable HTTP, custom headers). */
export function paramHeaders(headers: Headers): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => name.startsWith('mcp-param-')))
}

/** What every POST carries. */
export const POST_HEADERS: Headers = { accept: 'application/json, text/event-stream', 'content-type': 'application/json' }

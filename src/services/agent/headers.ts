import { expandValue } from '../../access/traits.ts'
import { AppError } from '../../lib/errors.ts'
import type { App } from '../../resources/app.ts'
import type { Identity } from '../../resources/identity.ts'

/** Set by the connection itself or by the protocol; a rewritten header cannot take their place. */
const RESERVED = new Set([
  'host',
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'upgrade',
  'expect',
  'content-length',
  'content-type',
  'transfer-encoding',
  'accept',
  'last-event-id',
  'mcp-session-id',
  'mcp-protocol-version',
  'mcp-method',
  'mcp-name',
])

/**
 * The headers that `spec.rewrite.headers` puts on every request to an HTTP server, templates filled with the caller's traits. A template
 * without a value leaves its header out.
 * @throws AppError failed_precondition for a header that cannot be rewritten, invalid_argument for a bad template.
 */
export function rewrittenHeaders(app: App, identity: Identity): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const { name, value } of app.spec.rewrite?.headers ?? []) {
    const key = name.toLowerCase()
    if (RESERVED.has(key) || key.startsWith('mcp-param-'))
      throw new AppError('failed_precondition', `MCP server "${app.metadata.name}": header ${name} cannot be rewritten`)
    if (/\{\{\s*internal\.(jwt|id_token)\s*\}\}/.test(value)) {
      throw new AppError(
        'unimplemented',
        `MCP server "${app.metadata.name}": signed identity headers ({{internal.jwt}}) are not supported by this version`,
      )
    }
    const [expanded] = expandValue(value, identity.traits)
    if (expanded === undefined) continue
    if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(expanded))
      throw new AppError('failed_precondition', `a trait of "${identity.name}" cannot stand in the header ${name}`)
    headers[key] = expanded
  }
  return headers
}

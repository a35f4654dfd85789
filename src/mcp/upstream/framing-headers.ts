import { AppError } from '../../lib/errors.ts'
import { isSendable } from '../../lib/http-wire/request-head.ts'

/** @throws AppError failed_precondition for a header to be set on every request that HTTP cannot carry, or that belongs to the connection. */
export function checkFraming(server: string, headers: Readonly<Record<string, string>>): void {
  const unsendable = Object.entries(headers).find(([name, value]) => !isSendable(name, value))
  if (unsendable)
    throw new AppError(
      'failed_precondition',
      `MCP server "${server}" sets the header ${JSON.stringify(unsendable[0])}, whose name or value HTTP cannot carry: mend rewrite.headers or the traits in it`,
    )
  const refused = Object.keys(headers).find((name) => FRAMING.has(name.toLowerCase()))
  if (refused)
    throw new AppError(
      'failed_precondition',
      `MCP server "${server}" sets the header ${refused}, which cannot be rewritten: remove it from rewrite.headers`,
    )
}

/** These belong to the connection, not to the message (RFC 9110 7.6.1), and could make two messages of one. */
const FRAMING = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'content-length',
  'te',
  'trailer',
  'upgrade',
  'expect',
])

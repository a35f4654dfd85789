import { AppError } from '../../lib/errors.ts'

/** @throws AppError failed_precondition for a header to be set on every request that belongs to the connection. */
export function checkFraming(server: string, headers: Readonly<Record<string, string>>): void {
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

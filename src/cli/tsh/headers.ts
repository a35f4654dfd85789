import { AppError } from '../../lib/errors.ts'

/** Set by the bridge itself or by HTTP; a person cannot. */
const RESERVED =
  /^(authorization|host|connection|content-.*|transfer-encoding|accept|mcp-.*|last-event-id|upgrade|te|trailer|keep-alive|proxy-.*)$/
const HEADER = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)$/

/** `-H "Name: value"` flags as they were given: the command line has cut them at commas. */
export function joinHeaders(parts: readonly string[]): string[] {
  const headers: string[] = []
  for (const part of parts) {
    if (headers.length === 0 || HEADER.test(part)) headers.push(part)
    else headers.push(`${headers.pop() ?? ''}, ${part}`)
  }
  return headers
}

/** The headers by lower-case name; a malformed or reserved one throws `invalid_argument`. */
export function parseHeaders(parts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    joinHeaders(parts).map((text) => {
      const [, name, value] = HEADER.exec(text) ?? []
      if (name === undefined || value === undefined)
        throw new AppError('invalid_argument', `malformed header "${text}": write "Name: value"`)
      if (RESERVED.test(name.toLowerCase()))
        throw new AppError('invalid_argument', `the header ${name} belongs to the connection itself and cannot be set`)
      return [name.toLowerCase(), value.trim()]
    }),
  )
}

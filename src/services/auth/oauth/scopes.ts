/** Everything the person's roles allow at the endpoint. */
export const ALL_SCOPE = 'mcp'

const SERVER_SCOPE = 'mcp:server:'

/** One server alone, at an endpoint that shows several. */
export function serverScope(server: string): string {
  return SERVER_SCOPE + encodeURIComponent(server)
}

/** Whether a scope has a meaning at MCP endpoints. */
export function isMcpScope(scope: string): boolean {
  return scope === ALL_SCOPE || (scope.startsWith(SERVER_SCOPE) && scope.length > SERVER_SCOPE.length)
}

/**
 * The servers that scopes leave open; undefined: all. Scopes narrow what roles allow and never widen it: a token whose scopes say nothing of
 * MCP opens no server.
 */
export function serversOf(scopes: readonly string[]): string[] | undefined {
  if (scopes.includes(ALL_SCOPE)) return undefined
  return scopes.filter((scope) => scope.startsWith(SERVER_SCOPE)).flatMap((scope) => decode(scope.slice(SERVER_SCOPE.length)) ?? [])
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined // a broken escape names nothing
  }
}

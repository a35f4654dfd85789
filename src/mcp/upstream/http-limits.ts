/** What one HTTP MCP server may take of time and connections. */
export interface HttpLimits {
  connectTimeoutMs: number
  /** Until the first byte of an answer, as long as a stdio server has; a tool that works longer has to answer with an event stream. */
  headersTimeoutMs: number
  /** Between two pieces of a body that is no event stream. */
  bodyTimeoutMs: number
  /** For the DELETE that ends a session. */
  closeTimeoutMs: number
  /** Requests and streams under way at a time, each on a connection of its own. */
  maxConnections: number
}

export const HTTP_LIMITS: HttpLimits = {
  connectTimeoutMs: 10_000,
  headersTimeoutMs: 600_000,
  bodyTimeoutMs: 60_000,
  closeTimeoutMs: 2000,
  maxConnections: 2048,
}

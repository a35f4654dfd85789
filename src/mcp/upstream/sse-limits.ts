import { HTTP_LIMITS } from './http-limits.ts'
import type { HttpLimits } from './http-limits.ts'
import { STDIO_LIMITS } from './stdio-limits.ts'
import type { StdioLimits } from './stdio-limits.ts'

/** What one MCP server of the transport of 2024-11-05 may take of time, memory and connections. */
export interface SseLimits
  extends HttpLimits, Pick<StdioLimits, 'requestTimeoutMs' | 'initializeTimeoutMs' | 'maxInFlight' | 'maxQueuedBytes'> {
  /** Until the event stream has said where messages go. */
  endpointTimeoutMs: number
}

export const SSE_LIMITS: SseLimits = {
  ...HTTP_LIMITS,
  requestTimeoutMs: STDIO_LIMITS.requestTimeoutMs,
  initializeTimeoutMs: STDIO_LIMITS.initializeTimeoutMs,
  maxInFlight: STDIO_LIMITS.maxInFlight,
  maxQueuedBytes: STDIO_LIMITS.maxQueuedBytes,
  endpointTimeoutMs: 30_000,
}

/** What one stdio MCP server may take of time and memory. */
export interface StdioLimits {
  /** How long a request may take. */
  requestTimeoutMs: number
  initializeTimeoutMs: number
  /** From SIGINT to SIGKILL. */
  stopGraceMs: number
  maxLineBytes: number
  /** Requests one process works on at a time. */
  maxInFlight: number
  /** Of these, requests of one conversation, where several share the process. */
  maxInFlightOfOne: number
  /** Of messages nobody has read yet. */
  maxQueuedBytes: number
  /** Lines and bytes in `garbageMs` that belong to nothing: one that writes more is ended. */
  maxGarbageLines: number
  maxGarbageBytes: number
  garbageMs: number
  /** How often a modern conversation may start its process in `startsMs`. */
  maxStarts: number
  startsMs: number
  /** Processes of one MCP server, over all conversations. */
  maxChildren: number
}

export const STDIO_LIMITS: StdioLimits = {
  requestTimeoutMs: 10 * 60_000,
  initializeTimeoutMs: 60_000,
  stopGraceMs: 10_000,
  maxLineBytes: 16 * 1024 * 1024,
  maxInFlight: 1000,
  maxInFlightOfOne: 250,
  maxQueuedBytes: 16 * 1024 * 1024,
  maxGarbageLines: 10_000,
  maxGarbageBytes: 32 * 1024 * 1024,
  garbageMs: 10_000,
  maxStarts: 5,
  startsMs: 60_000,
  maxChildren: 1000,
}

/** What one end of a tunnel allows the other; every number may be lowered, for tests or for small machines. */
export interface TunnelLimits {
  /** Streams at a time. */
  maxStreams: number
  /** Bytes on a new stream, and what a reader that keeps up gets in the end. */
  streamWindow: number
  maxStreamWindow: number
  /** Bytes on all streams that nobody has taken yet: what the memory of this end can grow by. */
  connectionWindow: number
  /** For the first frame of the other end. */
  helloMs: number
  pingEveryMs: number
  /** From a ping to any sign of life. */
  pingDeadlineMs: number
  /** A stream whose other end takes nothing for so long is given up. */
  stalledMs: number
  /** Streams that may be cancelled at once, and so many more a second, before new ones are refused. */
  cancelBurst: number
  cancelsPerSecond: number
  /** Of a request, and of all requests whose bodies are on their way. */
  maxBodyBytes: number
  maxPendingBodyBytes: number
}

export const DEFAULT_LIMITS: TunnelLimits = {
  maxStreams: 20_000,
  streamWindow: 128 * 1024,
  maxStreamWindow: 1024 * 1024,
  connectionWindow: 32 * 1024 * 1024,
  helloMs: 10_000,
  pingEveryMs: 10_000,
  pingDeadlineMs: 10_000,
  stalledMs: 120_000,
  cancelBurst: 1000,
  cancelsPerSecond: 200,
  maxBodyBytes: 16 * 1024 * 1024,
  maxPendingBodyBytes: 64 * 1024 * 1024,
}

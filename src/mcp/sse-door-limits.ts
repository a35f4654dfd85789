/** What the clients of the transport of 2024-11-05 may take at one door. Times in milliseconds. */
export interface SseDoorLimits {
  /** Streams of one caller. */
  perOwner: number
  /** All streams. */
  total: number
  /** A stream without a session ends after that time. */
  silentMs: number
  keepAliveMs: number
  /** Messages of one stream that are being served, and their bytes. */
  maxUnderWay: number
  maxUnderWayBytes: number
  /** Of one message to the client. */
  maxMessageBytes: number
  /** Of what a client has not read; one that leaves more is cut off. */
  maxBufferedBytes: number
}

export const SSE_DOOR_LIMITS: SseDoorLimits = {
  perOwner: 64,
  total: 20_000,
  silentMs: 60_000,
  keepAliveMs: 15_000,
  maxUnderWay: 1000,
  maxUnderWayBytes: 16 * 1024 * 1024,
  maxMessageBytes: 16 * 1024 * 1024,
  maxBufferedBytes: 32 * 1024 * 1024,
}

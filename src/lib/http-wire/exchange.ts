import type { HeaderFields } from './response-head.ts'

export interface WireRequest {
  method: string
  /** As `beginHead` makes it, with further lines of `renderField`. */
  head: string
  /** Undefined for a request without one. */
  body: Buffer | undefined
}

/**
 * Who gets an answer. Called in the order head, data, end, and never from within `send`; a fault is the last call.
 * After `abort` of the exchange nothing is called any more.
 */
export interface Receiver {
  /** The final head; interim answers (1xx) are left out. */
  onHead(status: number, fields: HeaderFields): void
  /** It is the receiver's, for as long as it likes; see `Exchange.giveBack`. */
  onData(chunk: Buffer): void
  onEnd(): void
  /** A WireFault, or an error of the operating system or of TLS. What came so far is no whole answer. */
  onFault(error: Error): void
}

/** One request and its answer, while it lasts; after it only `giveBack` has any effect. */
export interface Exchange {
  /** Gives it up. The connection is closed, since what is still to come belongs to nobody. */
  abort(): void
  /** Stops reading from the connection; what was read already may still come. */
  pause(): void
  resume(): void
  /** A piece of the answer that nobody looks at any more: others are read into its memory. Without it the piece is garbage some day. */
  giveBack(chunk: Uint8Array): void
}

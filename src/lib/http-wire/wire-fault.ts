/** What went wrong with an exchange, when it was not the operating system or TLS that said so. */
export type WireCode =
  /** The answer breaks RFC 9112 or a limit of ours; the message says how, in words of ours alone. */
  | 'WIRE_PROTOCOL'
  /** The connection ended before the whole answer had come. */
  | 'WIRE_CLOSED'
  | 'WIRE_CONNECT_TIMEOUT'
  | 'WIRE_HEADERS_TIMEOUT'
  /** A header of the request has a name or a value that HTTP cannot carry. */
  | 'WIRE_HEADER'
  /** All connections that the pool may have are in use. */
  | 'WIRE_FULL'
  /** The pool was closed. */
  | 'WIRE_SHUT'

/** An error of the HTTP client, told apart by `code` as those of Node are. */
export class WireFault extends Error {
  override readonly name = 'WireFault'
  readonly code: WireCode

  constructor(code: WireCode, message: string) {
    super(message)
    this.code = code
  }
}

export function protocolFault(message: string): WireFault {
  return new WireFault('WIRE_PROTOCOL', message)
}

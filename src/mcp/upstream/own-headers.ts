export type Headers = Readonly<Record<string, string>>

/**
 * The headers that the gateway itself sets on every request to an HTTP server: rewritten ones, signed words about the caller. A function is asked
 * before each request, since such a word is good for minutes; it gives the same object as long as nothing changed, and a promise when it has to ask.
 */
export type OwnHeaders = Headers | HeaderSource

export interface HeaderSource {
  (): Headers | Promise<Headers>
  /** The server answered 401 to a request with these: the next ones are to be others, or to say why there are none. */
  refused?(headers: Headers): void
}

export function headersNow(own: OwnHeaders): Headers | Promise<Headers> {
  return typeof own === 'function' ? own() : own
}

export type Headers = Readonly<Record<string, string>>

/**
 * The headers that the gateway itself sets on every request to an HTTP server: rewritten ones, signed words about the caller. A function is asked
 * before each request, since such a word is good for minutes; it gives the same object as long as nothing changed, and a promise when it has to ask.
 */
export type OwnHeaders = Headers | (() => Headers | Promise<Headers>)

export function headersNow(own: OwnHeaders): Headers | Promise<Headers> {
  return typeof own === 'function' ? own() : own
}

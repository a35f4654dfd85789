/** Groups of four, as RFC 4648 §4 has them: nothing that two readers could decode differently. */
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/
const MARKED = /^=\?base64\?(.*)\?=$/

/**
 * The text of a header that repeats a value of the body. `=?base64?…?=` is UTF-8 in base64 (2026-07-28, Streamable HTTP, header encoding);
 * undefined when what is between the marks is not.
 */
export function decodeHeaderValue(header: string): string | undefined {
  const trimmed = header.trim()
  const encoded = MARKED.exec(trimmed)?.[1]
  if (encoded === undefined) return trimmed
  if (!BASE64.test(encoded)) return undefined
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(encoded, 'base64'))
  } catch {
    return undefined // bytes that are no UTF-8 are no value
  }
}

/** Visible ASCII, spaces and tabs inside. */
const PLAIN = /^[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?$/

/** A value of the body as a header repeats it (2026-07-28, Streamable HTTP, header encoding): plain where that is possible and not taken for the marked form. */
export function encodeHeaderValue(value: string): string {
  if (PLAIN.test(value) && !MARKED.test(value)) return value
  return `=?base64?${Buffer.from(value, 'utf8').toString('base64')}?=`
}

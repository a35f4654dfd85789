import { areFieldLines, trimBlanks } from './response-head.ts'

/** The head of a request that everybody reads in the same way. */
export interface PlainRequest {
  method: 'GET' | 'POST' | 'DELETE'
  /** In origin form, as it was sent (RFC 9112 3.2.1). */
  target: string
  /** Lower-case names; none was sent twice. */
  headers: Readonly<Record<string, string>>
  /** Bytes of the body. */
  bodyBytes: number
  /** Whether the connection goes on after the answer. */
  isKept: boolean
}

export const MAX_PLAIN_HEAD_BYTES = 16 * 1024
const MAX_FIELDS = 100
const REQUEST_LINE = /^(GET|POST|DELETE) (\/[!-~]*) HTTP\/1\.1\r\n/
const LENGTH = /^(?:0|[1-9][0-9]{0,9})$/
/** These change what follows the head, or ask for something before it. */
const NOT_PLAIN: ReadonlySet<string> = new Set(['transfer-encoding', 'trailer', 'upgrade', 'expect', '__proto__'])

/**
 * Reads a head of HTTP/1.1, in latin1, each line with its end, without the empty line. It accepts much less than RFC 9112 allows: nothing that two
 * readers could take for different requests, nothing that needs an answer of its own. Undefined for all else, be it right or wrong.
 */
export function parsePlainRequest(text: string): PlainRequest | undefined {
  const line = REQUEST_LINE.exec(text)
  if (!line) return undefined
  const [{ length: fieldsAt }, method, target = ''] = line
  if ((method !== 'GET' && method !== 'POST' && method !== 'DELETE') || !areFieldLines(text, fieldsAt)) return undefined
  const headers = readHeaders(text, fieldsAt)
  if (!headers || headers['host'] === undefined) return undefined
  const { connection, 'content-length': length = method === 'POST' ? undefined : '0' } = headers
  const isKept = connection === undefined || connection.toLowerCase() === 'keep-alive'
  if (!isKept && connection?.toLowerCase() !== 'close') return undefined
  if (length === undefined || !LENGTH.test(length)) return undefined
  const bodyBytes = Number(length)
  return method === 'POST' || bodyBytes === 0 ? { method, target, headers, bodyBytes, isKept } : undefined
}

/** Splits lines that were checked; undefined when a name comes twice or is not plain. */
function readHeaders(text: string, start: number): Record<string, string> | undefined {
  const headers: Record<string, string> = {}
  let count = 0
  for (let at = start; at < text.length;) {
    const colon = text.indexOf(':', at)
    const end = text.indexOf('\r', colon)
    const name = text.slice(at, colon).toLowerCase()
    if (++count > MAX_FIELDS || Object.hasOwn(headers, name) || NOT_PLAIN.has(name)) return undefined
    headers[name] = trimBlanks(text, colon + 1, end)
    at = end + 2
  }
  return headers
}

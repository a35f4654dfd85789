import { AppError } from '../lib/errors.ts'
import type { Exchange } from './exchange.ts'
import { TunnelFault } from './fault.ts'
import { MAX_HEAD_BYTES } from './frame.ts'

/** What opens a stream: a request without its body, and how long that is. */
export interface RequestHead {
  method: string
  path: string
  server: string
  assertion: string
  remoteAddress: string
  headers: Record<string, string>
  bodyBytes: number
}

export interface AnswerHead {
  status: number
  headers: Record<string, string>
}

type Headers = Readonly<Record<string, string>>

/** Method, path, server, assertion, address of the client. */
const REQUEST_FIELDS = 5
const MAX_FIELDS = 512
/** Names of headers are what HTTP/2 allows of RFC 9110 §5.6.2: tokens without capitals. */
const NAME = /^[a-z0-9!#$%&'*+.^_`|~-]{1,256}$/
const METHOD = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,32}$/
/** RFC 9110 §5.5: a value has no control characters but the tab; one character is one byte. */
const FORBIDDEN = /[^\t\x20-\x7e\x80-\xff]/
const ASCII = /^[\x20-\x7e]*$/
const PATH = /^[\x21-\x7e\x80-\xff]+$/

/** @throws AppError invalid_argument for characters that no header can carry, resource_exhausted when it is too large. */
export function encodeRequestHead(exchange: Exchange): Buffer {
  const { method, path, assertion, remoteAddress } = exchange
  // Names of servers may have any letters; they go as UTF-8 in a text of bytes.
  const server = ASCII.test(exchange.server) ? exchange.server : Buffer.from(exchange.server).toString('latin1')
  const fields = [method, path, server, assertion, remoteAddress]
  return encodeFields(4, exchange.body.length, addHeaders(fields, exchange.headers))
}

/** @throws TunnelFault refused when it makes no sense. */
export function decodeRequestHead(payload: Buffer): RequestHead {
  const { first: bodyBytes, fields } = decodeFields(4, payload)
  const [method = '', path = '', server = '', assertion = '', remoteAddress = ''] = fields
  if (fields.length < REQUEST_FIELDS || !METHOD.test(method) || !PATH.test(path)) throw malformed()
  const named = ASCII.test(server) ? server : decodeUtf8(server)
  return { method, path, server: named, assertion, remoteAddress, headers: readHeaders(fields, REQUEST_FIELDS), bodyBytes }
}

/** @throws AppError invalid_argument, resource_exhausted as for a request; internal for a status that ends nothing. */
export function encodeAnswerHead(status: number, headers: Headers): Buffer {
  if (!isFinal(status)) throw new AppError('internal', `an answer has the status ${status}`)
  return encodeFields(2, status, addHeaders([], headers))
}

/** @throws TunnelFault refused when it makes no sense. */
export function decodeAnswerHead(payload: Buffer): AnswerHead {
  const { first: status, fields } = decodeFields(2, payload)
  if (!isFinal(status)) throw malformed()
  return { status, headers: readHeaders(fields, 0) }
}

function isFinal(status: number): boolean {
  return Number.isInteger(status) && status >= 200 && status <= 599
}

function addHeaders(fields: string[], headers: Headers): string[] {
  for (const name of Object.keys(headers)) fields.push(isName(name) ? name : name.toLowerCase(), headers[name] ?? '')
  return fields
}

/** A number of `size` bytes, the count of fields, the length of each in two bytes, and all their text, a byte a character. */
function encodeFields(size: 2 | 4, first: number, fields: readonly string[]): Buffer {
  const text = fields.join('')
  if (FORBIDDEN.test(text)) throw new AppError('invalid_argument', 'a header has characters that HTTP does not allow')
  const at = size + 2 + 2 * fields.length
  if (at + text.length > MAX_HEAD_BYTES || fields.length > MAX_FIELDS || fields.some((field) => field.length > 0xffff))
    throw new AppError('resource_exhausted', `headers may have ${MAX_HEAD_BYTES} bytes in all`, { details: { http: 431 } })
  const payload = Buffer.allocUnsafe(at + text.length)
  payload.writeUIntBE(first, 0, size)
  payload.writeUInt16BE(fields.length, size)
  let place = size + 2
  for (const { length } of fields) place = payload.writeUInt16BE(length, place)
  payload.write(text, at, 'latin1')
  return payload
}

function decodeFields(size: 2 | 4, payload: Buffer): { first: number; fields: string[] } {
  if (payload.length < size + 2) throw malformed()
  const count = payload.readUInt16BE(size)
  const at = size + 2 + 2 * count
  if (count > MAX_FIELDS || payload.length < at) throw malformed()
  const text = payload.toString('latin1', at)
  if (FORBIDDEN.test(text)) throw malformed()
  const fields: string[] = []
  let from = 0
  for (let index = 0; index < count; index++) {
    const to = from + payload.readUInt16BE(size + 2 + 2 * index)
    fields.push(text.slice(from, to))
    from = to
  }
  if (from !== text.length) throw malformed()
  return { first: payload.readUIntBE(0, size), fields }
}

function readHeaders(fields: readonly string[], from: number): Record<string, string> {
  if ((fields.length - from) % 2 !== 0) throw malformed()
  const headers: Record<string, string> = {}
  for (let index = from; index < fields.length; index += 2) {
    const name = fields[index] ?? ''
    if (!isName(name) || Object.hasOwn(headers, name)) throw malformed()
    headers[name] = fields[index + 1] ?? ''
  }
  return headers
}

/** An object's `__proto__` is no place for a header. */
function isName(name: string): boolean {
  return NAME.test(name) && name !== '__proto__'
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function decodeUtf8(text: string): string {
  try {
    return UTF8.decode(Buffer.from(text, 'latin1'))
  } catch (cause) {
    throw new TunnelFault('refused', 'the head of a stream is malformed', cause)
  }
}

function malformed(): TunnelFault {
  return new TunnelFault('refused', 'the head of a stream is malformed')
}

import { WireFault } from './wire-fault.ts'

/** A token and a field value as RFC 9110 5.1 and 5.5 have them; what is above 0x7f goes out as one latin1 byte a character. */
const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/

/** Whether HTTP can carry the header. */
export function isSendable(name: string, value: string): boolean {
  return NAME.test(name) && VALUE.test(value)
}

/**
 * One line of a request head, with its end.
 *
 * @throws WireFault WIRE_HEADER for what would be no line or more than one
 */
export function renderField(name: string, value: string): string {
  if (!isSendable(name, value)) throw new WireFault('WIRE_HEADER', 'a header has a name or a value that HTTP cannot carry')
  return `${name}: ${value}\r\n`
}

/**
 * The beginning of a head that stays the same over many requests: request line, host and the headers given. What differs follows as lines
 * of `renderField`, and `endHead` ends it.
 *
 * @param path with its query, as a URL has it
 * @param host for the `host` header, unless one of the headers is it
 * @param headers names in lower case
 * @throws WireFault WIRE_HEADER
 */
export function beginHead(method: string, path: string, host: string, headers: Readonly<Record<string, string>>): string {
  let head = `${method} ${path} HTTP/1.1\r\n`
  if (!('host' in headers)) head += renderField('host', host)
  head += 'connection: keep-alive\r\n'
  for (const [name, value] of Object.entries(headers)) head += renderField(name, value)
  return head
}

/** Ends a head; `bodyLength` is undefined for a request without a body. */
export function endHead(head: string, bodyLength: number | undefined): string {
  return bodyLength === undefined ? `${head}\r\n` : `${head}content-length: ${bodyLength}\r\n\r\n`
}

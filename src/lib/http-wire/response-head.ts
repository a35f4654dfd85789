import { protocolFault } from './wire-fault.ts'

/** Names, in lower case, and values by turns, as they came. */
export type HeaderFields = readonly string[]

/** How the end of a body is known (RFC 9112 6.3). */
export type Framing = 'none' | 'length' | 'chunked' | 'until-close'

export interface ResponseHead {
  status: number
  fields: HeaderFields
  framing: Framing
  /** Bytes of the body; 0 when they are not known. */
  length: number
  /** How long the server says it keeps the connection: 0 not at all, undefined when it does not say. */
  keepAliveMs: number | undefined
}

const MAX_FIELDS = 200

/** The value of the first field of this name, in lower case. */
export function fieldOf(fields: HeaderFields, name: string): string | undefined {
  for (let at = 0; at < fields.length; at += 2) if (fields[at] === name) return fields[at + 1]
  return undefined
}

/** How often a field comes. */
export function countOf(fields: HeaderFields, name: string): number {
  let count = 0
  for (let at = 0; at < fields.length; at += 2) if (fields[at] === name) count++
  return count
}

/**
 * Reads the head of an answer, in latin1, each line with its end, without the empty line.
 * Strict where leniency lets two readers see different messages: RFC 9112 2.2, 5.1, 5.2, 6.1, 6.3, 11.2.
 *
 * @param isHead the request was HEAD: no body follows
 * @throws WireFault WIRE_PROTOCOL
 */
export function parseResponseHead(text: string, isHead: boolean): ResponseHead {
  const status = readStatus(text)
  const isOld = text.startsWith('HTTP/1.0')
  const fieldsAt = text.indexOf('\n') + 1
  if (!areFieldLines(text, fieldsAt)) throw protocolFault(faultOfFields(text.slice(fieldsAt)))
  const marks: Marks = { length: undefined, coding: undefined, connection: undefined, keepAlive: undefined }
  const fields = readFields(text, fieldsAt, marks)
  const { length, coding } = marks
  if (coding !== undefined) {
    if (length !== undefined) throw protocolFault('both content-length and transfer-encoding')
    if (coding.toLowerCase() !== 'chunked') throw protocolFault('a transfer-encoding other than chunked')
    if (isOld) throw protocolFault('transfer-encoding in HTTP/1.0')
  }
  const bytes = length === undefined ? 0 : readLength(length)
  const head: ResponseHead = { status, fields, framing: 'none', length: 0, keepAliveMs: isOld ? 0 : keepAliveOf(marks) }
  if (isHead || status < 200 || status === 204 || status === 304) return head
  if (coding !== undefined) head.framing = 'chunked'
  else if (length === undefined) head.framing = 'until-close'
  else {
    head.framing = 'length'
    head.length = bytes
  }
  return head
}

/** Lines of fields to the end. Each alternative is told by its first character, so that it takes linear time whatever it is given. */
const FIELDS = /(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*$/y

/** Whether this is lines of fields from `start` on, each with its end. */
export function areFieldLines(text: string, start = 0): boolean {
  FIELDS.lastIndex = start
  return FIELDS.test(text)
}

/** Fields that say how to go on. */
interface Marks {
  length: string | undefined
  coding: string | undefined
  connection: string | undefined
  keepAlive: string | undefined
}

/** Splits lines that were checked. */
function readFields(text: string, start: number, marks: Marks): string[] {
  const fields: string[] = []
  for (let at = start; at < text.length;) {
    const colon = text.indexOf(':', at)
    const end = text.indexOf('\r', colon)
    const name = text.slice(at, colon).toLowerCase()
    const value = trimBlanks(text, colon + 1, end)
    if (fields.length === 2 * MAX_FIELDS) throw protocolFault(`more than ${MAX_FIELDS} header lines`)
    fields.push(name, value)
    if (name === 'content-length') {
      if (marks.length !== undefined) throw protocolFault('content-length more than once')
      marks.length = value
    } else if (name === 'transfer-encoding') {
      // A second line would be a list, and so no single `chunked`.
      marks.coding = marks.coding === undefined ? value : `${marks.coding}, ${value}`
    } else if (name === 'connection') marks.connection = marks.connection === undefined ? value : `${marks.connection}, ${value}`
    else if (name === 'keep-alive') marks.keepAlive = value
    at = end + 2
  }
  return fields
}

/** Without the white space that RFC 9110 5.5 allows around a value, and no other. */
export function trimBlanks(text: string, start: number, end: number): string {
  let [from, to] = [start, end]
  while (from < to && isBlank(text.charCodeAt(from))) from++
  while (to > from && isBlank(text.charCodeAt(to - 1))) to--
  return text.slice(from, to)
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}

/** The reason phrase may be missing together with the space before it, as many servers send it. */
const STATUS_LINE = /^HTTP\/1\.[01] ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?\r\n/

function readStatus(text: string): number {
  const digits = STATUS_LINE.exec(text)?.[1]
  if (digits === undefined) throw protocolFault('its first line is no status line of HTTP/1.1')
  if (digits === '101') throw protocolFault('it switches protocols although nobody asked for that')
  return Number(digits)
}

/** More digits than these are no exact number. */
const LENGTH = /^[0-9]{1,15}$/

function readLength(value: string): number {
  if (!LENGTH.test(value)) throw protocolFault('a content-length that is no number')
  return Number(value)
}

function keepAliveOf({ connection, keepAlive }: Marks): number | undefined {
  if (connection !== undefined && connection !== 'keep-alive') {
    const options = connection.toLowerCase().split(',')
    if (options.some((option) => option.trim() === 'close')) return 0
  }
  if (keepAlive === undefined) return undefined
  const seconds = /(?:^|[,;\s])timeout=([0-9]{1,6})(?:$|[,;\s])/i.exec(keepAlive)?.[1]
  return seconds === undefined ? undefined : Number(seconds) * 1000
}

function faultOfFields(lines: string): string {
  if (lines.includes('\0')) return 'a NUL in its header'
  if (/[^\r]\n|^\n|\r[^\n]/.test(lines)) return 'a line of its header with a bare CR or LF'
  if (/^[ \t]|\n[ \t]/.test(lines)) return 'a folded line in its header'
  if (/(?:^|\n)[^:\n]*[ \t]:/.test(lines)) return 'a space before the colon of a header'
  return 'a line in its header that is no field'
}

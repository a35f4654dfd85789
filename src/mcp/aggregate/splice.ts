import { parseExact, renderExact, scanMessage, type Span, textAt } from '../../lib/json-scan.ts'
import { type Fields, fieldsOf } from '../message.ts'

/** A part of a message and the JSON text to stand in its place. */
interface Change {
  span: Span
  text: string
}

/** The message with other values for some members of its `params`, as JSON text; every other byte stays. Members that are absent stay so. */
export function replaceParams(bytes: Buffer, values: Readonly<Record<string, string>>): Buffer {
  const scanned = scanMessage(bytes)
  if (scanned.kind === 'array') return bytes
  const changes = Object.entries(values).flatMap(([name, text]) => {
    const span = scanned.paramsMembers.get(name)
    return span ? [{ span, text }] : []
  })
  return splice(bytes, changes)
}

/** The message under another id, given as JSON text. */
export function replaceId(bytes: Buffer, id: string): Buffer {
  const scanned = scanMessage(bytes)
  const span = scanned.kind === 'object' ? scanned.members.get('id') : undefined
  return span ? splice(bytes, [{ span, text: id }]) : bytes
}

/** A member of `params` that is an object, with other values in it; numbers stay as they were written. */
export function replaceWithin(bytes: Buffer, name: string, change: (fields: Fields) => Fields): Buffer {
  const scanned = scanMessage(bytes)
  const span = scanned.kind === 'object' ? scanned.paramsMembers.get(name) : undefined
  const fields = span && fieldsOf(parseExact(textAt(bytes, span)))
  return span && fields ? splice(bytes, [{ span, text: renderExact(change(fields)) }]) : bytes
}

/** The JSON text of a member of `params`, and of a member of that. */
export function findParamText(bytes: Buffer, name: string, inner?: string): string | undefined {
  const scanned = scanMessage(bytes)
  const span = scanned.kind === 'object' ? scanned.paramsMembers.get(name) : undefined
  if (!span) return undefined
  const text = textAt(bytes, span)
  // As the params of a message the value is scanned like one.
  return inner === undefined ? text : findParamText(Buffer.from(`{"params":${text}}`), inner)
}

/** The JSON text of `params`; `{}` when there are none. */
export function findParamsText(bytes: Buffer): string {
  const scanned = scanMessage(bytes)
  const span = scanned.kind === 'object' ? scanned.members.get('params') : undefined
  return span ? textAt(bytes, span) : '{}'
}

function splice(bytes: Buffer, changes: readonly Change[]): Buffer {
  if (changes.length === 0) return bytes
  const parts: Buffer[] = []
  let at = 0
  for (const { span, text } of changes.toSorted((a, b) => a.span.start - b.span.start)) {
    parts.push(bytes.subarray(at, span.start), Buffer.from(text))
    at = span.end
  }
  return Buffer.concat([...parts, bytes.subarray(at)])
}

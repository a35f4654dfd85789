import { parseExact, renderExact, type ScannedObject, scanMessage, type Span } from '../lib/json-scan.ts'
import { AppError } from '../lib/errors.ts'
import { type ClientMessage, type Fields, fieldsOf, readClientMessages } from './message.ts'

/** Of keys in `_meta` that the gateway writes, and nobody else. */
export const OWN_META = 'sallyport.dev/'
/** As readers find it that do not tell cases apart, those of Unicode among them. */
const OWN = /^sallyport\.dev\//iu

/** A client's message without what it says in the gateway's name; the same object for all others. */
export function withoutOwnMeta(message: ClientMessage): ClientMessage {
  const meta = message.kind === 'response' ? metaOf(readAnswer(message.bytes), 'result') : fieldsOf(message.params['_meta'])
  if (!meta || !hasOwn(meta)) return message
  const part = message.kind === 'response' ? 'result' : 'params'
  const whole = readAnswer(message.bytes)
  const rest = Object.fromEntries(Object.entries(metaOf(whole, part) ?? {}).filter(([key]) => !OWN.test(key)))
  const bytes = Buffer.from(renderExact({ ...whole, [part]: { ...fieldsOf(whole[part]), _meta: rest } }))
  const [cleaned] = readClientMessages(bytes).messages
  if (!cleaned) throw new AppError('internal', 'a message without some of its members is none')
  return cleaned
}

function hasOwn(meta: Fields): boolean {
  for (const key in meta) if (OWN.test(key)) return true
  return false
}

function readAnswer(bytes: Buffer): Fields {
  return fieldsOf(parseExact(bytes.toString())) ?? {}
}

function metaOf(whole: Fields, part: string): Fields | undefined {
  return fieldsOf(fieldsOf(whole[part])?.['_meta'])
}

/** A request with members put into `params._meta`, all else as it is to the byte. `members`: JSON text without braces. */
export function putOwnMeta(bytes: Buffer, members: string): Buffer {
  const message = members === '' ? undefined : scanMessage(bytes)
  if (message?.kind !== 'object') return bytes
  return putInto(bytes, message, members)
}

function putInto(bytes: Buffer, { members: top, paramsMembers }: ScannedObject, members: string): Buffer {
  const meta = paramsMembers.get('_meta')
  const params = top.get('params')
  if (meta && isObject(bytes, meta)) return insert(bytes, meta.start + 1, members, isEmpty(bytes, meta))
  // What a client puts there that is no object says nothing to anybody.
  if (meta) return splice(bytes, meta, `{${members}}`)
  if (params) return insert(bytes, params.start + 1, `"_meta":{${members}}`, isEmpty(bytes, params))
  const end = bytes.lastIndexOf('}')
  return splice(bytes, { start: end, end }, `,"params":{"_meta":{${members}}}`)
}

function insert(bytes: Buffer, at: number, text: string, isAlone: boolean): Buffer {
  return splice(bytes, { start: at, end: at }, isAlone ? text : `${text},`)
}

function splice(bytes: Buffer, { start, end }: Span, text: string): Buffer {
  return Buffer.concat([bytes.subarray(0, start), Buffer.from(text), bytes.subarray(end)])
}

function isObject(bytes: Buffer, { start }: Span): boolean {
  return bytes[start] === '{'.charCodeAt(0)
}

function isEmpty(bytes: Buffer, { start, end }: Span): boolean {
  return bytes.toString('latin1', start + 1, end - 1).trim() === ''
}

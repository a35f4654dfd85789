import type { ServerAccess } from '../access/check.ts'
import type { Decision } from '../access/decision.ts'
import { AppError } from '../lib/errors.ts'
import { parseExact, renderExact } from '../lib/json-scan.ts'
import { isSpelledAs } from '../lib/message-names.ts'
import { type ClientMessage, type Fields, fieldsOf } from './message.ts'
import { findMethod, type MethodRow, NOTIFICATIONS, resemblesKnown } from './methods.ts'

/** May the caller send this message? Responses may: they answer what the server asked on the same session. */
export function checkMessage(message: ClientMessage, access: ServerAccess): Decision {
  if (!access.decision.allow) return access.decision
  if (message.kind === 'response') return access.decision
  if (message.kind === 'notification') return NOTIFICATIONS.has(message.method) ? access.decision : checkUnknown(message.method, access)
  const row = findMethod(message.method)
  if (!row) return checkUnknown(message.method, access)
  let decision: Decision = access.decision
  for (const { what, name, args } of row.names?.(message.params) ?? []) {
    decision = access.check(what, name, args)
    if (!decision.allow) return decision
  }
  return decision
}

/** Nobody names a method like that: what is longer is not worth comparing with patterns. */
const MAX_UNKNOWN_CHARS = 256

/**
 * A method without a row passes, unread, where a role lets it. What only looks like a known method never does: a server that is not strict
 * about names would take it for a call that no rule about tools was asked about.
 */
function checkUnknown(method: string, access: ServerAccess): Decision {
  const decision = method.length > MAX_UNKNOWN_CHARS || resemblesKnown(method) ? undefined : access.check('method', method)
  if (decision && (decision.allow || decision.kind !== 'unknown_method')) return decision
  return { allow: false, kind: 'unknown_method', by: null, reason: `method "${method.slice(0, 100)}" is not known to this gateway` }
}

/** Judging and writing a list keeps everybody waiting: 4 MiB of tools as servers describe them take some 20 ms, the worst text half a second. */
const MAX_LIST_BYTES = 4 * 1024 * 1024
/** Entries of one answer, each of which the rules are asked about. */
const MAX_LIST_ENTRIES = 20_000

/**
 * The response without the list entries the caller may not use; what is kept is kept to the letter, numbers included. An entry without
 * a name, or with one more for readers who do not mind the case of keys, is taken out: nothing could allow it. Always rendered anew, for a duplicate key in the original could show a client another list.
 * A filtered list is one caller's: a cache that may serve it to everyone (2026-07-28, `cacheScope`) must not have it.
 * @throws AppError unavailable (origin upstream) when the list cannot be read, for then it cannot be judged either, or is above 4 MiB or
 * 20 000 entries.
 */
export function filterList(
  bytes: Buffer,
  lists: NonNullable<MethodRow['lists']>,
  access: ServerAccess,
): { bytes: Buffer; response: Fields } {
  if (bytes.byteLength > MAX_LIST_BYTES) throw tooLarge(lists.in, `is larger than ${MAX_LIST_BYTES} bytes`)
  const response = fieldsOf(parseResponse(bytes))
  const result = fieldsOf(response?.['result'])
  if (response && response['error'] !== undefined && !('result' in response)) return render(response)
  if (!response || !result || response['error'] !== undefined) throw unreadable(lists.in)
  const items: unknown = result[lists.in]
  if (!Array.isArray(items) || isAmbiguous(result, lists.in)) throw unreadable(lists.in)
  if (items.length > MAX_LIST_ENTRIES) throw tooLarge(lists.in, `has more than ${MAX_LIST_ENTRIES} entries`)
  const allowed = items.filter((item) => {
    const fields = fieldsOf(item)
    const name = fields?.[lists.by]
    return fields && typeof name === 'string' && !isAmbiguous(fields, lists.by) && access.check(lists.what, name).allow
  })
  const scope = result['cacheScope'] === 'public' ? { cacheScope: 'private' } : {}
  return render({ ...response, result: { ...result, [lists.in]: allowed, ...scope } })
}

/** Whether some reader could take another member for this one. */
function isAmbiguous(fields: Fields, name: string): boolean {
  for (const key in fields) if (key !== name && key.length === name.length && isSpelledAs(name, key)) return true
  return false
}

function parseResponse(bytes: Buffer): unknown {
  try {
    return parseExact(bytes.toString('utf8'))
  } catch (cause) {
    throw unusable(cause)
  }
}

function render(response: Fields): { bytes: Buffer; response: Fields } {
  try {
    return { bytes: Buffer.from(renderExact(response)), response }
  } catch (cause) {
    throw unusable(cause)
  }
}

function unusable(cause: unknown): AppError {
  const why = cause instanceof AppError ? cause.message : 'it cannot be read'
  return new AppError('unavailable', `the MCP server sent a response that cannot be judged: ${why}`, { origin: 'upstream', cause })
}

function unreadable(list: string): AppError {
  return new AppError('unavailable', `the MCP server sent a response without a readable list "${list}"`, { origin: 'upstream' })
}

function tooLarge(list: string, how: string): AppError {
  const message = `the MCP server sent a list "${list}" that ${how}: it has to send it in pages (nextCursor)`
  return new AppError('unavailable', message, { origin: 'upstream' })
}

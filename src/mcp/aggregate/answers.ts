import { parseExact, renderExact } from '../../lib/json-scan.ts'
import { type Fields, fieldsOf } from '../message.ts'
import { exposeId, exposeUri } from './uris.ts'

/** Larger messages pass as they are: rewriting them would cost more than a client that follows their links gains. */
const MAX_BYTES = 1024 * 1024

/** Values that are another thing in an answer of this server than for the client; the same value when nothing is. */
type Rewrite = (value: unknown, server: string) => unknown

const RESULTS: Readonly<Record<string, Rewrite>> = {
  'tools/call': callResult,
  'prompts/get': promptResult,
  'resources/read': readResult,
  'tasks/get': taskResult,
  'tasks/result': callResult,
  'tasks/cancel': taskResult,
  'tasks/update': taskResult,
  'skills/get': member('skill', (skill, server) => files(member('uri', uri)(skill, server), server)),
  'resources/directory/read': files,
}

const NOTIFICATIONS: Readonly<Record<string, Rewrite>> = {
  'notifications/resources/updated': member('uri', uri),
  'notifications/tasks/status': taskResult,
  'notifications/tasks': taskResult,
}

/** Whether messages of this text could hold anything to rewrite; where a letter is escaped, a key may be. Cheap. */
export function mayHold(text: Buffer | string): boolean {
  return text.length <= MAX_BYTES && HINTS.some((hint) => text.includes(hint))
}

const HINTS = ['"uri"', '"taskId"', 'resourceUri', '\\u00']

/** A server's response to a request of this method, as the client is to see it; the same bytes when nothing in it has another name here. */
export function exposeResponse(method: string, server: string, bytes: Buffer): Buffer {
  const rewrite = Object.hasOwn(RESULTS, method) ? RESULTS[method] : undefined
  if (!rewrite || !mayHold(bytes)) return bytes
  const response = readFields(bytes)
  if (!response || response['result'] === undefined) return bytes
  const exposed = member('result', rewrite)(response, server)
  const text = exposed === response ? undefined : renderSafely(exposed)
  return text === undefined ? bytes : Buffer.from(text)
}

/** A server's notification or request, as the client is to see it; the same text when nothing in it has another name here. */
export function exposeNotice(server: string, text: string): string {
  if (!mayHold(text)) return text
  const message = readFields(text)
  const method = message?.['method']
  const rewrite = typeof method === 'string' && Object.hasOwn(NOTIFICATIONS, method) ? NOTIFICATIONS[method] : relatedTask
  const exposed = member('params', rewrite ?? relatedTask)(message, server)
  return (exposed === message ? undefined : renderSafely(exposed)) ?? text
}

/**
 * The item of a list, whose own name or URI is one of ours already, with the others in it: the page of MCP Apps (SEP-1865) of a tool, by
 * either of its spellings, and the files of a skill.
 */
export function exposeItem(list: string, item: Fields, server: string): Fields {
  const exposed = list === 'skills' ? files(item, server) : uiMeta(item, server)
  return fieldsOf(exposed) ?? item
}

/** Undefined for what is deeper than the stack: it passes as it is. */
function renderSafely(value: unknown): string | undefined {
  try {
    return renderExact(value)
  } catch {
    return undefined
  }
}

function readFields(text: Buffer | string): Fields | undefined {
  try {
    return fieldsOf(parseExact(String(text)))
  } catch {
    return undefined // not JSON: passes as it is, and the client says so
  }
}

function callResult(value: unknown, server: string): unknown {
  return uiMeta(member('content', list(block))(taskResult(value, server), server), server)
}

function promptResult(value: unknown, server: string): unknown {
  const content: Rewrite = (one, from) => (Array.isArray(one) ? list(block)(one, from) : block(one, from))
  return relatedTask(member('messages', list(member('content', content)))(value, server), server)
}

function readResult(value: unknown, server: string): unknown {
  return relatedTask(member('contents', list(member('uri', uri)))(value, server), server)
}

/** The handle of a task: flat in the extension, within `task` in revision 2025-11-25; `result` is that of a finished call. */
function taskResult(value: unknown, server: string): unknown {
  const flat = member('taskId', taskId)(value, server)
  const nested = member('task', member('taskId', taskId))(flat, server)
  const isTask = fieldsOf(nested)?.['taskId'] !== undefined
  return relatedTask(isTask ? member('result', member('content', list(block)))(nested, server) : nested, server)
}

function relatedTask(value: unknown, server: string): unknown {
  return member('_meta', member('io.modelcontextprotocol/related-task', member('taskId', taskId)))(value, server)
}

/** A content block: a link to a resource has the URI itself, an embedded resource within. */
function block(value: unknown, server: string): unknown {
  const type = fieldsOf(value)?.['type']
  if (type === 'resource_link') return member('uri', uri)(value, server)
  return type === 'resource' ? member('resource', member('uri', uri))(value, server) : value
}

function files(value: unknown, server: string): unknown {
  return member('resources', list(member('uri', uri)))(value, server)
}

function uiMeta(value: unknown, server: string): unknown {
  const meta = member('_meta', (one, from) => member('ui/resourceUri', uri)(member('ui', member('resourceUri', uri))(one, from), from))
  return meta(value, server)
}

function uri(value: unknown, server: string): unknown {
  return typeof value === 'string' ? exposeUri(server, value) : value
}

function taskId(value: unknown, server: string): unknown {
  return typeof value === 'string' ? exposeId(server, value) : value
}

function member(name: string, rewrite: Rewrite): Rewrite {
  return (value, server) => {
    const fields = fieldsOf(value)
    if (!fields || !Object.hasOwn(fields, name)) return value
    const changed = rewrite(fields[name], server)
    return changed === fields[name] ? value : { ...fields, [name]: changed }
  }
}

function list(rewrite: Rewrite): Rewrite {
  return (value, server) => {
    if (!Array.isArray(value)) return value
    const items: readonly unknown[] = value
    const changed = items.map((one) => rewrite(one, server))
    return changed.every((one, at) => one === items[at]) ? items : changed
  }
}

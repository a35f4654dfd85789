import { AppError } from '../../lib/errors.ts'
import type { Span } from '../../lib/json-scan.ts'
import { type Fields, parseId } from '../message.ts'
import { readHead } from '../message-head.ts'
import { idKey } from '../request-ids.ts'
import { readPlainResponse } from '../response.ts'
import type { InFlight } from './in-flight.ts'
import { classifyLine } from './incoming.ts'
import type { Incoming } from './incoming.ts'
import type { ListenerSlot } from './listener.ts'
import { batchFault } from './message-batch.ts'
import type { Agreed } from './message-batch.ts'
import type { RequestTable } from './request-table.ts'
import { putId, restore } from './stdio-ids.ts'

type Note = Extract<Incoming, { kind: 'notification' }>

export interface RouteOptions {
  server: string
  era: 'legacy' | 'modern'
  requests: RequestTable
  listener: ListenerSlot
  /** Several callers use the process: what names no request is for nobody. */
  isShared?: boolean
  /** What the session agreed on; a modern one never has batches. */
  agreed: Agreed
  drop: (why: string) => void
}

/** Hands one line of a stdio server to whom it belongs; its bytes stay as they are, but for ids the server knows by another name. */
export function routeLine(line: Buffer, options: RouteOptions): void {
  if (routePlain(line, options.requests)) return
  const incoming = classifyLine(line)
  if (incoming.kind === 'batch') return routeBatch(line, incoming.elements, options)
  routeOne(line, incoming, options)
}

/** The quick way of most answers, which need no look at each byte. False for all else, which `classifyLine` has to judge. */
function routePlain(line: Buffer, requests: RequestTable): boolean {
  const value = readPlainResponse(line)
  const key = value ? keyOfPlain(value) : keyOfLarge(line)
  const request = key === undefined ? undefined : requests.find(key)
  if (!request || request.isSubscription || request.method === 'initialize') return false
  const { asWritten, rawId } = request
  const bytes = asWritten ? putId(line, rawId, asWritten.id) : line
  if (!bytes) return false
  request.finish(bytes, value && asWritten ? { ...value, id: parseId(asWritten.id) } : value)
  return true
}

function keyOfPlain({ jsonrpc, id }: Fields): string | undefined {
  return jsonrpc === '2.0' && (typeof id === 'string' || typeof id === 'number') ? idKey(id) : undefined
}

/** Of a large answer as programs write it only the outermost level is read, as of one over HTTP. */
function keyOfLarge(line: Buffer): string | undefined {
  if (line.length <= LARGE_BYTES) return undefined
  const saysVersion =
    line.toString('latin1', 0, VERSION_FIRST.length) === VERSION_FIRST || line.includes(VERSION_LATE, -LATE_BYTES, 'latin1')
  return saysVersion ? readHead(line).answered : undefined
}

/** What is smaller is read as a whole. */
const LARGE_BYTES = 8 * 1024
const VERSION_FIRST = '{"jsonrpc":"2.0",'
/** With an id after it, as the official SDK writes it. */
const VERSION_LATE = '},"jsonrpc":"2.0","id":'
const LATE_BYTES = 128

function routeOne(line: Buffer, incoming: Incoming, options: RouteOptions): void {
  const { era, drop } = options
  if (incoming.kind === 'garbage' || incoming.kind === 'batch') return drop('not a JSON-RPC message')
  if (incoming.kind === 'ambiguous') return routeAmbiguous(incoming, options)
  if (incoming.kind === 'response') return routeResponse(line, incoming, options)
  if (era === 'legacy') return routeLegacy(line, incoming, options)
  // MCP 2026-07-28, basic/transports/stdio: servers must not write requests.
  if (incoming.kind === 'request') return drop('servers send no requests in this revision')
  routeModern(line, incoming, options)
}

/** One by one, as if each had come alone. What answers a request in a batch that is not taken fails it, so that nobody waits for it. */
function routeBatch(line: Buffer, elements: readonly Span[], options: RouteOptions): void {
  const fault = batchFault(elements.length, options.agreed.mayBatch)
  const dropped = new Set<string>(fault === undefined ? [] : [fault])
  const each: RouteOptions = { ...options, drop: (why) => dropped.add(why) }
  for (const { start, end } of elements) {
    const element = line.subarray(start, end)
    const incoming = classifyLine(element)
    if (fault === undefined) routeOne(element, incoming, each)
    else if (incoming.kind === 'response') routeAmbiguous({ ids: [incoming.id.key], reason: fault }, each)
  }
  if (dropped.size > 0) options.drop([...dropped].join('; '))
}

function routeResponse(line: Buffer, incoming: Extract<Incoming, { kind: 'response' }>, { requests, agreed, drop }: RouteOptions): void {
  const id = incoming.id.key
  const request = requests.find(id)
  if (!request) return drop(requests.takeLate(id) ? 'late response' : 'response to no request')
  if (request.method === 'initialize') agreed.learn(line)
  request.finish(restore(line, incoming, request))
}

function routeAmbiguous({ ids, reason }: { ids: readonly string[]; reason: string }, { server, requests, drop }: RouteOptions): void {
  for (const id of ids) {
    const request = requests.find(id)
    const words = `the answer of MCP server "${server}" is not clear: ${reason}`
    if (request) request.fail(new AppError('unavailable', words, { origin: 'upstream' }))
    else drop(requests.takeLate(id) ? 'late response' : 'response to no request')
  }
}

function routeLegacy(line: Buffer, incoming: Extract<Incoming, { kind: 'request' | 'notification' }>, options: RouteOptions): void {
  const token = incoming.kind === 'notification' ? incoming.progressToken : undefined
  if (token === undefined) return routeUnrelated(line, options)
  const request = options.requests.findByToken(token.key)
  return request ? request.deliver(line) : options.drop('progress of no request')
}

/** No stream tells who a message of a legacy server is for; it is all one client. */
function routeUnrelated(line: Buffer, { requests, listener }: RouteOptions): void {
  if (listener.deliver(line)) return
  const request = requests.findLast()
  if (request) request.deliver(line)
  else listener.store(line)
}

function routeModern(line: Buffer, incoming: Note, { requests, isShared, drop }: RouteOptions): void {
  const { progressToken, subscription, cancels } = incoming
  const keys = new Set([progressToken, subscription, cancels].flatMap((mention) => mention?.key ?? []))
  if (keys.size > 1) return drop('names two requests')
  const [key] = keys
  if (key === undefined) {
    const request = isShared ? undefined : requests.findLast()
    return request ? request.deliver(line) : drop('belongs to no request')
  }
  const request = requests.find(key)
  if (!request || !mayBe(incoming, request)) return drop('no such subscription, or progress nobody asked for')
  request.deliver(restore(line, incoming, request))
  if (cancels) request.end()
}

function mayBe({ progressToken, subscription, cancels }: Note, request: InFlight): boolean {
  if (progressToken && request.progressToken !== progressToken.key) return false
  return request.isSubscription || !(subscription || cancels)
}

import { AppError } from '../../lib/errors.ts'
import type { InFlight } from './in-flight.ts'
import { classifyLine } from './incoming.ts'
import type { Incoming } from './incoming.ts'
import type { ListenerSlot } from './listener.ts'
import type { RequestTable } from './request-table.ts'
import { restore } from './stdio-ids.ts'

type Note = Extract<Incoming, { kind: 'notification' }>

export interface RouteOptions {
  server: string
  era: 'legacy' | 'modern'
  requests: RequestTable
  listener: ListenerSlot
  /** Several callers use the process: what names no request is for nobody. */
  isShared?: boolean
  drop: (why: string) => void
}

/** Hands one line of a stdio server to whom it belongs; its bytes stay as they are, but for ids the server knows by another name. */
export function routeLine(line: Buffer, options: RouteOptions): void {
  const { era, drop } = options
  const incoming = classifyLine(line)
  if (incoming.kind === 'garbage') return drop('not a JSON-RPC message')
  if (incoming.kind === 'response' || incoming.kind === 'ambiguous') return routeResponse(line, incoming, options)
  if (era === 'legacy') return routeLegacy(line, incoming, options)
  // MCP 2026-07-28, basic/transports/stdio: servers must not write requests.
  if (incoming.kind === 'request') return drop('servers send no requests in this revision')
  routeModern(line, incoming, options)
}

function routeResponse(
  line: Buffer,
  incoming: Extract<Incoming, { kind: 'response' | 'ambiguous' }>,
  { server, requests, drop }: RouteOptions,
): void {
  const id = incoming.kind === 'response' ? incoming.id.key : incoming.id
  const request = requests.find(id)
  if (!request) return drop(requests.takeLate(id) ? 'late response' : 'response to no request')
  if (incoming.kind === 'response') return request.finish(restore(line, incoming, request))
  request.fail(new AppError('unavailable', `the answer of MCP server "${server}" is not clear: ${incoming.reason}`, { origin: 'upstream' }))
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

import { AppError } from '../../lib/errors.ts'
import { SUBSCRIBE } from './in-flight.ts'
import { classifyLine } from './incoming.ts'
import type { Incoming } from './incoming.ts'
import type { ListenerSlot } from './listener.ts'
import type { RequestTable } from './request-table.ts'

export interface RouteOptions {
  server: string
  era: 'legacy' | 'modern'
  requests: RequestTable
  listener: ListenerSlot
  drop: (why: string) => void
}

/** Hands one line of a stdio server to whom it belongs; its bytes stay as they are. */
export function routeLine(line: Buffer, options: RouteOptions): void {
  const { era, requests, drop } = options
  const incoming = classifyLine(line)
  if (incoming.kind === 'garbage') return drop('not a JSON-RPC message')
  if (incoming.kind === 'response' || incoming.kind === 'ambiguous') return routeResponse(line, incoming, options)
  if (incoming.kind === 'notification' && incoming.progressToken !== undefined) {
    const request = requests.findByToken(incoming.progressToken)
    return request ? request.deliver(line) : drop('progress of no request')
  }
  if (era === 'legacy') return routeUnrelated(line, options)
  // MCP 2026-07-28, basic/transports/stdio: servers must not write requests.
  if (incoming.kind === 'request') return drop('servers send no requests in this revision')
  routeModern(line, incoming, options)
}

function routeResponse(
  line: Buffer,
  incoming: Extract<Incoming, { kind: 'response' | 'ambiguous' }>,
  { server, requests, drop }: RouteOptions,
): void {
  const request = requests.find(incoming.id)
  if (!request) return drop(requests.takeLate(incoming.id) ? 'late response' : 'response to no request')
  if (incoming.kind === 'response') return request.finish(line)
  request.fail(new AppError('unavailable', `the answer of MCP server "${server}" is not clear: ${incoming.reason}`, { origin: 'upstream' }))
}

/** No stream tells who a message of a legacy server is for; it is all one client. */
function routeUnrelated(line: Buffer, { requests, listener }: RouteOptions): void {
  if (listener.deliver(line)) return
  const request = requests.findLast()
  if (request) request.deliver(line)
  else listener.store(line)
}

function routeModern(line: Buffer, incoming: Extract<Incoming, { kind: 'notification' }>, { requests, drop }: RouteOptions): void {
  const named = incoming.subscription ?? incoming.cancels
  if (named === undefined) {
    const request = requests.findLast()
    return request ? request.deliver(line) : drop('belongs to no request')
  }
  const subscription = requests.find(named)
  if (subscription?.method !== SUBSCRIBE) return drop('no such subscription')
  subscription.deliver(line)
  if (incoming.cancels !== undefined) subscription.end()
}

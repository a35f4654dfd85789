import { AppError } from '../../lib/errors.ts'
import type { HttpExchange } from '../../lib/http-exchange.ts'
import { idKey, keyOfRaw } from '../request-ids.ts'
import { type ClientMessage, type Fields, fieldsOf, renderRpcError } from '../message.ts'
import { Outlet } from '../outlet.ts'
import { encodeHeaderValue } from '../eras/header-value.ts'
import { discoverResult } from './capabilities.ts'
import type { Channel } from './channel.ts'
import type { Engine } from './engine.ts'
import { forward } from './forward.ts'
import { neutralHeaders, paramHeaders, POST_HEADERS } from './headers.ts'
import { answerResult } from './legacy-requests.ts'
import { findList } from './lists.ts'
import { renderList, renderSearch } from './listing.ts'
import { sendTo } from './member-exchange.ts'
import { route, type Routed, routeInnerCall } from './routing.ts'
import { CALL_TOOL, SEARCH_TOOLS } from './search.ts'
import type { View } from './view.ts'

/** Requests of the legacy revisions that `classify` does not refuse because the tasks extension has their like. */
const LEGACY_ONLY = new Set(['tasks/list', 'tasks/result'])
const MAX_META = 64 * 1024
const CLIENT_KEY = 'io.modelcontextprotocol/clientInfo'

/** Answers a message of a client without a session (2026-07-28): everything that is needed to understand it is in it. */
export async function serveModern(engine: Engine, exchange: HttpExchange, view: View, message: ClientMessage): Promise<void> {
  const outlet = new Outlet(exchange, {})
  // Clients cancel by going away; no notification of theirs is for a server over HTTP.
  if (message.kind !== 'request') return outlet.empty(202)
  const release = engine.load.begin(view.owner)
  try {
    await serveRequest(engine, exchange, view, message, outlet)
  } finally {
    release()
  }
}

async function serveRequest(engine: Engine, exchange: HttpExchange, view: View, message: ClientMessage, outlet: Outlet): Promise<void> {
  const { method, id, params } = message
  const channel = channelOf(engine, exchange, view, message)
  const list = LEGACY_ONLY.has(method) ? undefined : findList(method)
  if (method === 'server/discover') {
    const instructions = await engine.introductions.render(view, channel.clientName)
    return answerResult(outlet, id, JSON.stringify(discoverResult(engine.serverInfo, instructions)))
  }
  if (method === 'subscriptions/listen') return engine.listens.serve({ exchange, view, message, channel, outlet })
  if (list) return answerResult(outlet, id, await renderList(list, params['cursor'], channel, view, engine))
  const isSearched = method === 'tools/call' && view.discovery !== 'full'
  if (isSearched && params['name'] === SEARCH_TOOLS) {
    const result = await renderSearch(params['arguments'], channel, view, engine)
    return answerResult(outlet, id, result.replace(/^\{/, '{"resultType":"complete",'))
  }
  const routed = await routeCall(engine, exchange, view, message, channel)
  if (!routed) return outlet.json(404, renderRpcError(id, -32601, `method "${method.slice(0, 100)}" is not known to this gateway`))
  await forward(engine, {
    channel,
    routed,
    message,
    outlet,
    questions: undefined,
    answered: (answeredId) => (idKey(answeredId) === keyOfRaw(id) ? method : undefined),
    isForeignToken: (token) => JSON.stringify(token) !== message.progressToken,
    signal: exchange.signal,
  })
}

async function routeCall(
  engine: Engine,
  exchange: HttpExchange,
  view: View,
  message: ClientMessage,
  channel: Channel,
): Promise<Routed | undefined> {
  if (LEGACY_ONLY.has(message.method)) return undefined
  const router = { view, channel, catalogue: engine.catalogue }
  if (message.method === 'tools/call' && view.discovery !== 'full' && message.params['name'] === CALL_TOOL)
    return routeInnerCall(message, router)
  const routed = await route(message, router)
  return routed && { ...routed, message: { ...routed.message, headers: paramHeaders(exchange.headers) } }
}

/** It goes with requests of ours to every member, and is kept for as long as a subscription is. */
function assertSmall({ bytes }: ClientMessage, meta: Fields): void {
  if (bytes.length <= MAX_META || Buffer.byteLength(JSON.stringify(meta)) <= MAX_META) return
  throw new AppError('resource_exhausted', `_meta may have ${MAX_META} bytes`, { details: { http: 413, rpc: -32600 } })
}

function channelOf(engine: Engine, exchange: HttpExchange, view: View, message: ClientMessage): Channel {
  const { progressToken: _, ...meta } = fieldsOf(message.params['_meta']) ?? {}
  assertSmall(message, meta)
  const name = fieldsOf(meta[CLIENT_KEY])?.['name']
  const base = { ...neutralHeaders(exchange.headers), ...POST_HEADERS }
  const revision = exchange.headers['mcp-protocol-version']?.trim()
  if (revision === undefined) throw new AppError('internal', 'a message without a revision was taken for a modern one')
  const prefix = engine.ids.token(9)
  let asked = 0
  const channel: Channel = {
    era: 'modern',
    revision,
    owner: view.owner,
    scope: JSON.stringify(['modern', view.owner]),
    clientName: typeof name === 'string' ? name.slice(0, 200) : undefined,
    meta,
    nextId: () => JSON.stringify(`${prefix}-${++asked}`),
    lacks: (member, capability) => engine.offered.lacks(channel, member, capability),
    send: (member, forwarded, signal) => {
      const { name: called, method } = forwarded
      const own = {
        'mcp-protocol-version': revision,
        'mcp-method': method,
        ...(called !== undefined && { 'mcp-name': encodeHeaderValue(called) }),
      }
      const headers = { ...base, ...forwarded.headers, ...own }
      return sendTo(member, { method: 'POST', headers, body: forwarded.bytes, remoteAddress: exchange.remoteAddress }, signal)
    },
  }
  return channel
}

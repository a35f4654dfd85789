import { AppError } from '../../lib/errors.ts'
import { renderExact } from '../../lib/json-scan.ts'
import { type ClientMessage, renderRpcError } from '../message.ts'
import type { Outlet } from '../outlet.ts'
import { ask } from './channel.ts'
import type { Engine } from './engine.ts'
import { forward } from './forward.ts'
import { findList } from './lists.ts'
import { renderList, renderSearch } from './listing.ts'
import { refused, route, type Routed, routeInnerCall } from './routing.ts'
import { CALL_TOOL, SEARCH_TOOLS } from './search.ts'
import type { Session } from './session.ts'
import { counted } from './subscriptions.ts'
import { within } from './waiting.ts'

/** Methods that only the modern revision has. */
const MODERN_ONLY = new Set(['server/discover', 'subscriptions/listen', 'tasks/update'])
/** 2025-11-25, Logging, Log Levels (RFC 5424). */
const LEVELS = new Set(['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'])
const MAX_BYTES = 1024 * 1024
const MAX_URI = 8192

/** Answers a request of a session. @throws AppError for what is refused before it is sent. */
export async function serveRequest(engine: Engine, session: Session, message: ClientMessage, outlet: Outlet): Promise<void> {
  const { method, id } = message
  const release = engine.load.begin(session.owner)
  try {
    const list = findList(method)
    if (method === 'ping') return answerResult(outlet, id, '{}')
    if (list) return answerResult(outlet, id, await renderList(list, message.params['cursor'], session, session.view, engine))
    if (method === 'logging/setLevel') return await setLevel(engine, session, message, outlet)
    if (method === 'resources/subscribe') return await subscribe(engine, session, message, outlet)
    if (method === 'resources/unsubscribe') return await unsubscribe(engine, session, message, outlet)
    if (method === 'tools/call' && session.view.discovery !== 'full' && message.params['name'] === SEARCH_TOOLS) {
      return answerResult(outlet, id, await renderSearch(message.params['arguments'], session, session.view, engine))
    }
    const routed = await routeCall(engine, session, message)
    if (!routed) return outlet.json(200, renderRpcError(id, -32601, `method "${method.slice(0, 100)}" is not known to this gateway`))
    await forwardCall(engine, session, message, routed, outlet)
  } finally {
    release()
  }
}

/** The result, as JSON text, to the request with this id. */
export function answerResult(outlet: Outlet, id: string | undefined, result: string): void {
  outlet.json(200, Buffer.from(`{"jsonrpc":"2.0","id":${id ?? 'null'},"result":${result}}`))
}

async function routeCall(engine: Engine, session: Session, message: ClientMessage): Promise<Routed | undefined> {
  if (MODERN_ONLY.has(message.method)) return undefined
  const router = { view: session.view, channel: session, catalogue: engine.catalogue }
  const isInner = message.method === 'tools/call' && session.view.discovery !== 'full' && message.params['name'] === CALL_TOOL
  return isInner ? routeInnerCall(message, router) : route(message, router)
}

/** A client that goes away cancels nothing: the member goes on, and what it still says comes by GET. */
async function forwardCall(engine: Engine, session: Session, message: ClientMessage, routed: Routed, outlet: Outlet): Promise<void> {
  const server = routed.member.name
  const stopping = new AbortController()
  const { running } = session
  const { id, method, progressToken } = message
  running.begin(id, { server, method, progressToken, abort: (why) => stopping.abort(why) })
  const isOver = await forward(engine, {
    channel: session,
    routed,
    message,
    outlet,
    questions: session.questions,
    answered: (answeredId) => (running.find(answeredId)?.server === server ? running.find(answeredId)?.method : undefined),
    isForeignToken: (token) => running.isForeignToken(server, token),
    signal: stopping.signal,
  })
  if (isOver) running.finish(id)
  else running.leaveOpen(id)
}

async function setLevel(engine: Engine, session: Session, message: ClientMessage, outlet: Outlet): Promise<void> {
  const { level } = message.params
  if (typeof level !== 'string' || !LEVELS.has(level)) throw refused('the level of a log is one of RFC 5424, such as "info"')
  await session.setLevel(JSON.stringify(level))
  await engine.commons.change(session, (before) => ({ ...before, level: JSON.stringify(level) }))
  answerResult(outlet, message.id, '{}')
}

async function subscribe(engine: Engine, session: Session, message: ClientMessage, outlet: Outlet): Promise<void> {
  const { uri } = message.params
  const routed = await routeCall(engine, session, message)
  const original = routed?.message.name
  if (!routed || original === undefined || typeof uri !== 'string') throw refused('no such resource is here')
  if (uri.length > MAX_URI) throw refused(`the URI of a subscription may have ${MAX_URI} characters`)
  if (!session.subscriptions.has(uri)) {
    session.subscriptions.assertRoom(uri)
    await askInBand(engine, session, routed, original)
  }
  session.subscriptions.add(routed.member.name, original)
  await engine.commons.change(session, ({ subscribed, ...rest }) => ({ ...rest, subscribed: counted(subscribed, uri, 1) }))
  answerResult(outlet, message.id, '{}')
}

async function unsubscribe(engine: Engine, session: Session, message: ClientMessage, outlet: Outlet): Promise<void> {
  const { uri } = message.params
  const routed = await routeCall(engine, session, message)
  const original = routed?.message.name
  if (!routed || original === undefined || typeof uri !== 'string') throw refused('no such resource is here')
  const wasKnown = session.subscriptions.has(uri)
  const isLast = session.subscriptions.remove(routed.member.name, original)
  if (wasKnown) await engine.commons.change(session, ({ subscribed, ...rest }) => ({ ...rest, subscribed: counted(subscribed, uri, -1) }))
  answerResult(outlet, message.id, isLast ? await askInBand(engine, session, routed, original) : '{}')
}

/** What the member says, error or result, is an answer like any other. */
async function askInBand(engine: Engine, session: Session, { member, message }: Routed, uri: string): Promise<string> {
  try {
    const { result } = await within(engine.timers, engine.limits.silenceMs, session.signal, (signal) =>
      ask(session, member, message.method, { uri }, { signal, maxBytes: MAX_BYTES }),
    )
    return renderExact(result)
  } catch (thrown) {
    if (thrown instanceof AppError && typeof thrown.details?.['rpc'] === 'number') throw refused(thrown.message, thrown.details['rpc'])
    throw thrown
  }
}

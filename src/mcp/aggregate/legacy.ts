import { AppError, toAppError } from '../../lib/errors.ts'
import type { HttpExchange } from '../../lib/http-exchange.ts'
import { elementExchange } from '../batch.ts'
import { isModern, REVISIONS } from '../eras/revisions.ts'
import { type ClientMessage, type Fields, fieldsOf } from '../message.ts'
import { Outlet } from '../outlet.ts'
import { SESSION_HEADER } from '../posting.ts'
import { idKey } from '../request-ids.ts'
import { initializeResult } from './capabilities.ts'
import type { Engine } from './engine.ts'
import { neutralHeaders } from './headers.ts'
import { findCarried, renderSessionId, splitSessionId } from './portable-ids.ts'
import type { Opening } from './peer.ts'
import { NOTHING_REMEMBERED } from './remembered.ts'
import { answerResult, serveRequest } from './legacy-requests.ts'
import { sendOneWay } from './one-way.ts'
import type { Session } from './session.ts'
import { unknownSession } from './sessions.ts'
import { SessionStream } from './session-stream.ts'
import { findParamsText, replaceParams } from './splice.ts'
import { findId } from './uris.ts'
import type { View } from './view.ts'

/** Offered to a client that asks for a revision unknown here, or for one without a handshake. */
const NEWEST_LEGACY = '2025-11-25'
const MAX_BATCH = 100
/** Kept for as long as the session is. */
const MAX_OPENING = 256 * 1024

/** Opens a session. The members are not waited for: they are asked when the client first needs them. */
export async function openSession(engine: Engine, exchange: HttpExchange, view: View, message: ClientMessage): Promise<void> {
  const { protocolVersion } = message.params
  if (message.kind !== 'request' || typeof protocolVersion !== 'string')
    throw new AppError('invalid_argument', 'initialize needs an id and a protocolVersion', { details: { rpc: -32602 } })
  const revision = REVISIONS[protocolVersion]?.era === 'legacy' ? protocolVersion : NEWEST_LEGACY
  if (message.bytes.length > MAX_OPENING)
    throw new AppError('resource_exhausted', `initialize may have ${MAX_OPENING} bytes`, { details: { http: 413, rpc: -32600 } })
  const params = findParamsText(replaceParams(message.bytes, { protocolVersion: JSON.stringify(revision) }))
  const clientName = nameOf(message.params)
  const instructions = await engine.introductions.render(view, clientName)
  const session = engine.sessions.open(view, openingOf(engine, exchange, params), { revision, clientName })
  session.shownId = renderSessionId(engine.sealer, session, params, engine.now())
  const outlet = new Outlet(exchange, { [SESSION_HEADER]: session.shownId })
  answerResult(outlet, message.id, JSON.stringify(initializeResult(revision, engine.serverInfo, instructions)))
}

function openingOf(engine: Engine, { headers, remoteAddress }: HttpExchange, params: string): Opening {
  return engine.openings.shared({ params, headers: neutralHeaders(headers), remoteAddress })
}

function nameOf({ clientInfo }: Fields): string | undefined {
  const name = fieldsOf(clientInfo)?.['name']
  return typeof name === 'string' ? name.slice(0, 200) : undefined
}

/**
 * The session that a request belongs to. One that began in another process goes on here with what the client began it with and what is kept of it
 * (`Commons`): the servers get new sessions.
 * @throws AppError not_found for one that nobody knows, or of somebody else.
 */
async function sessionOf(engine: Engine, exchange: HttpExchange, view: View): Promise<Session> {
  const given = exchange.headers[SESSION_HEADER]
  if (given === undefined) return engine.sessions.get(given, view)
  const { id, carried } = splitSessionId(given)
  const isFromElsewhere = carried !== undefined && engine.sessions.isStrange(id)
  const params = isFromElsewhere ? findCarried(engine.sealer, { id, owner: view.owner }, carried, engine.now()) : undefined
  if (params !== undefined) await adopt(engine, exchange, view, { id, params, shownId: given })
  const session = engine.sessions.get(id, view)
  if (session.shownId !== given) throw unknownSession()
  return session
}

/** Opens a session that another replica opened, as it was there. */
async function adopt(
  engine: Engine,
  exchange: HttpExchange,
  view: View,
  opened: { id: string; params: string; shownId: string },
): Promise<void> {
  const { id, params, shownId } = opened
  const recalled = await engine.commons.recall(id, view.owner)
  // Another request may have been faster, or it ended elsewhere.
  if (!engine.sessions.isStrange(id) || recalled?.remembered.hasEnded === true) return
  const said = fieldsOf(JSON.parse(params)) ?? {}
  const facts = { revision: String(said['protocolVersion']), clientName: nameOf(said), id }
  const session = engine.sessions.open(view, openingOf(engine, exchange, params), facts)
  session.shownId = shownId
  engine.commons.join(session, recalled)
}

/** Answers a POST that belongs to a session: one message, or a batch of them. */
export async function serveSession(
  engine: Engine,
  exchange: HttpExchange,
  view: View,
  { batch, messages }: { batch: boolean; messages: ClientMessage[] },
): Promise<void> {
  const session = await sessionOf(engine, exchange, view)
  const [first] = messages
  if (!batch && first) return serveOne(engine, session, first, exchange)
  if (!REVISIONS[session.revision]?.batches) throw invalid('batches belong to revision 2025-03-26 only')
  if (messages.length > MAX_BATCH) throw invalid(`a batch may have at most ${MAX_BATCH} messages`)
  if (messages.some(({ method }) => method === 'initialize')) throw invalid('initialize must not be part of a batch')
  return serveBatch(engine, session, messages, exchange)
}

/**
 * Opens the stream of messages that belong to no request, which takes over from the one before. Its end is not waited for: of ten thousand idle
 * streams nothing should be kept that they do not need.
 */
export async function openStream(engine: Engine, exchange: HttpExchange, view: View): Promise<void> {
  assertLegacy(exchange)
  const session = await sessionOf(engine, exchange, view)
  if (!/\btext\/event-stream\b|\*\/\*/.test(exchange.headers['accept'] ?? ''))
    throw new AppError('invalid_argument', 'a GET must accept text/event-stream', { details: { http: 406, rpc: -32600 } })
  const outlet = new Outlet(exchange, {})
  const lastEventId = exchange.headers['last-event-id']
  const resumeAfter = lastEventId === undefined ? undefined : findId(lastEventId)
  const stream = new SessionStream({
    outlet,
    questions: session.questions,
    answered: answeredBy(session, resumeAfter?.server),
    isForeignToken: (server, token) => session.running.isForeignToken(server, token),
    onChanged: (server, kind) => engine.catalogue.changed(session, server, kind),
    resumeAfter,
    timers: engine.timers,
    debounceMs: engine.limits.debounceMs,
    openMs: engine.limits.openMs,
    log: engine.log,
    onEnd: () => {
      session.streams.leave(stream, session.peers())
      session.detach(outlet)
    },
  })
  session.attach(outlet)
  outlet.open('events')
  outlet.keepAlive() // sends the head at once: clients wait for it
  session.streams.take(stream, session.peers())
  session.reachSubscribed()
  const onGone = (): void => stream.close()
  if (exchange.signal.aborted) onGone()
  else exchange.signal.addEventListener('abort', onGone, { once: true })
}

/** The method of the request that a response on a stream answers. Of a member whose stream is resumed, that may be one that was answered: once. */
function answeredBy(session: Session, resumed: string | undefined): (server: string, id: unknown) => string | undefined {
  // An idle session has no requests, and no room for them.
  if (resumed === undefined) return (server, id) => session.running.answered(server, id)
  const passed = new Set<string>()
  return (server, id) => {
    const { running } = session
    const key = idKey(id)
    const method = running.answered(server, id) ?? (server === resumed && !passed.has(key) ? running.replayed(server, id) : undefined)
    if (server === resumed && method !== undefined) passed.add(key)
    return method
  }
}

/** Ends a session. */
export async function deleteSession(engine: Engine, exchange: HttpExchange, view: View): Promise<void> {
  assertLegacy(exchange)
  const session = await sessionOf(engine, exchange, view)
  void engine.sessions.end(session)
  if (engine.commons.isKept(session)) await engine.commons.change(session, () => ({ ...NOTHING_REMEMBERED, hasEnded: true }))
  new Outlet(exchange, {}).empty(200)
}

async function serveOne(engine: Engine, session: Session, message: ClientMessage, exchange: HttpExchange): Promise<void> {
  const outlet = new Outlet(exchange, {})
  session.attach(outlet)
  try {
    if (message.kind !== 'request') {
      await sendOneWay(engine, session, message)
      return outlet.empty(202)
    }
    await serveRequest(engine, session, message, outlet)
  } catch (thrown) {
    await fail(engine, session, outlet, thrown, message.id)
  } finally {
    session.detach(outlet)
  }
}

/** All that answers a batch comes on one stream, which 2025-03-26 allows in place of an array. */
async function serveBatch(engine: Engine, session: Session, messages: readonly ClientMessage[], exchange: HttpExchange): Promise<void> {
  const outlet = new Outlet(exchange, {})
  if (!messages.some(({ kind }) => kind === 'request')) {
    for (const message of messages) await sendOneWay(engine, session, message)
    return outlet.empty(202)
  }
  outlet.open('events')
  session.attach(outlet)
  try {
    await Promise.all(messages.map((message) => serveElement(engine, session, message, exchange, outlet)))
  } finally {
    session.detach(outlet)
    outlet.end()
  }
}

async function serveElement(
  engine: Engine,
  session: Session,
  message: ClientMessage,
  exchange: HttpExchange,
  stream: Outlet,
): Promise<void> {
  const done = Promise.withResolvers<void>()
  const outlet = new Outlet(elementExchange(exchange, stream, message.id, done.resolve), {})
  try {
    if (message.kind !== 'request') return await sendOneWay(engine, session, message)
    await serveRequest(engine, session, message, outlet)
  } catch (thrown) {
    if (message.kind !== 'request') return
    await fail(engine, session, outlet, thrown, message.id)
  }
  await done.promise
}

async function fail(engine: Engine, session: Session, outlet: Outlet, thrown: unknown, id: string | undefined): Promise<void> {
  const error = session.signal.aborted ? session.why : toAppError(thrown)
  if (error.code === 'internal') engine.log.error('request failed', { error })
  await outlet.fail(error, id)
}

function assertLegacy(exchange: HttpExchange): void {
  if (isModern(exchange.headers['mcp-protocol-version']))
    throw new AppError('invalid_argument', 'this endpoint offers no such stream', { details: { http: 405, rpc: -32600 } })
}

function invalid(message: string): AppError {
  return new AppError('invalid_argument', message, { details: { rpc: -32600 } })
}

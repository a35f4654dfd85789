import { AppError, toAppError } from '../lib/errors.ts'
import type { HttpExchange } from '../lib/http-exchange.ts'
import { elementExchange } from './batch.ts'
import type { Caller } from './caller.ts'
import type { Conversation } from './conversation.ts'
import type { Conversations } from './conversations.ts'
import { classify, clientInfoText, type Dialect } from './eras/classify.ts'
import { checkMirrors } from './eras/mirrors.ts'
import { isModern, REVISIONS } from './eras/revisions.ts'
import { ORIGIN_HEADER } from './failure.ts'
import { checkMessage } from './guard.ts'
import { listsOf } from './list-changes.ts'
import { type ClientMessage, type Fields, fieldsOf, readClientMessages, renderRpcError } from './message.ts'
import { Outlet } from './outlet.ts'
import { withoutOwnMeta } from './own-meta.ts'
import { relayRequest } from './relay.ts'
import { Relayed } from './relayed.ts'
import { idKey } from './request-ids.ts'

export interface Posting {
  exchange: HttpExchange
  caller: Caller
  conversations: Conversations
  now: () => number
}

export const SESSION_HEADER = 'mcp-session-id'
const HEADERS_UP = ['accept', 'mcp-protocol-version', 'last-event-id']
/** These repeat the body, which only the modern revision compares. */
const MODERN_HEADERS_UP = [...HEADERS_UP, 'mcp-method', 'mcp-name']
const MAX_BATCH = 100

/**
 * Answers a POST: one message, or a batch of them, each judged on its own.
 * @throws AppError for what is refused before it belongs to an MCP session; it is the caller's to record and answer.
 */
export function servePost(posting: Posting): Promise<void> {
  const { exchange, caller, conversations } = posting
  const { batch, messages: sent } = readClientMessages(exchange.body)
  const messages = sent.map(withoutOwnMeta)
  const dialect = classify(messages, batch, exchange.headers)
  const [first] = messages
  if (!batch && first) return serveOne(posting, first, dialect)
  const conversation = conversations.get(exchange.headers[SESSION_HEADER], caller)
  if (!REVISIONS[conversation.revision ?? '']?.batches) throw invalid('batches belong to revision 2025-03-26 only')
  if (messages.length > MAX_BATCH) throw invalid(`a batch may have at most ${MAX_BATCH} messages`)
  if (messages.some(({ method }) => method === 'initialize')) throw invalid('initialize must not be part of a batch')
  return serveBatch(posting, conversation, messages, dialect)
}

async function serveOne(posting: Posting, message: ClientMessage, dialect: Dialect): Promise<void> {
  const { exchange, caller, conversations, now } = posting
  const isOpening = dialect.era === 'legacy' && dialect.opens
  const found = conversationFor(posting, dialect)
  const conversation = found instanceof Promise ? await found : found
  const outlet = new Outlet(exchange, isOpening ? { [SESSION_HEADER]: conversation.id } : undefined)
  try {
    const decision = checkMessage(message, caller.access())
    if (!decision.allow) {
      await conversation.recorder.denied(message, decision)
      const isUnknown = decision.kind === 'unknown_method'
      if (message.kind !== 'request') return outlet.empty(202)
      const bytes = renderRpcError(message.id, isUnknown ? -32601 : -32602, decision.reason, { reason: decision.kind })
      return outlet.json(isUnknown && dialect.era === 'modern' ? 404 : 200, bytes, { [ORIGIN_HEADER]: 'gateway' })
    }
    if (message.kind !== 'request') {
      await sendOneWay(message, conversation, exchange)
      return outlet.empty(202)
    }
    if (dialect.era === 'modern') checkMirrors(conversation.mirrors, message, exchange.headers)
    conversation.assertRoomFor(message.id)
    conversation.attach(outlet)
    const relayed = new Relayed(
      conversation,
      caller,
      message,
      decision,
      isOpening ? (response) => opened(conversation, message, response) : undefined,
    )
    try {
      await relayed.written
    } catch (thrown) {
      relayed.unsent()
      throw thrown
    }
    await relayRequest(relayed, conversation, exchange, outlet, protocolHeaders(exchange, dialect))
  } catch (thrown) {
    const error = conversation.signal.aborted ? conversation.why : toAppError(thrown)
    // What we refuse ourselves is recorded and answered in one place.
    if (error.origin === 'gateway' && !conversation.signal.aborted) throw error
    await outlet.fail(error, message.id)
  } finally {
    conversation.detach(outlet, now())
    if (isOpening && conversation.revision === undefined) conversations.discard(conversation)
  }
}

/** A session that is open is there at once. */
function conversationFor({ exchange, caller, conversations }: Posting, dialect: Dialect): Conversation | Promise<Conversation> {
  if (dialect.era === 'modern') return conversations.shared(caller, exchange.remoteAddress, dialect)
  if (dialect.opens) return conversations.open(caller, exchange.remoteAddress)
  return conversations.get(exchange.headers[SESSION_HEADER], caller)
}

/** The server said who it is: the session has begun. Resolves when that is written. */
function opened(conversation: Conversation, message: ClientMessage, response: Fields): Promise<void> | undefined {
  const result = fieldsOf(response['result'])
  const revision = result?.['protocolVersion']
  if (typeof revision !== 'string' || isModern(revision)) return undefined
  conversation.negotiated(revision, listsOf(result?.['capabilities']))
  const client = clientInfoText(message.params['clientInfo'])
  const server = clientInfoText(result?.['serverInfo'])
  return conversation.recorder.sessionStart({
    protocol_version: revision.slice(0, 20),
    ...(client !== undefined && { client_info: client }),
    ...(server !== undefined && { server_info: server }),
    ...(conversation.upstream.externalId !== undefined && { mcp_session_id: conversation.upstream.externalId }),
  })
}

async function sendOneWay(message: ClientMessage, conversation: Conversation, exchange: HttpExchange): Promise<void> {
  if (message.kind === 'response' && !conversation.takeAsked(message.id)) throw invalid('the MCP server has asked nothing with this id')
  if (message.kind === 'notification') await conversation.recorder.notification(message)
  if (message.method === 'notifications/cancelled' && (await isCancelledHere(message, conversation))) return
  const headers = protocolHeaders(exchange, undefined)
  const reply = await conversation.upstream.send({ ...message, headers, whole: false }, conversation.signal)
  if (reply.kind === 'refused')
    throw new AppError('unavailable', `the MCP server answered with HTTP ${reply.status}`, { origin: 'upstream' })
}

/**
 * Whether nothing has to be passed on. What is under way is broken off, and the server told by whoever broke it off; an id that is not
 * waiting is nobody's to cancel. None ever waits by id in a modern conversation, whose clients cancel by going away (2026-07-28, cancellation).
 */
async function isCancelledHere({ params }: ClientMessage, conversation: Conversation): Promise<boolean> {
  const relayed = conversation.findWaiting(idKey(params['requestId']))
  if (!relayed || relayed.message.method === 'initialize') return true
  const { isUnderWay } = relayed
  const recorded = relayed.interrupt('cancelled by the client')
  relayed.abort()
  await recorded
  return isUnderWay
}

/** A batch is sent only when every element of it may be sent. */
async function serveBatch(posting: Posting, conversation: Conversation, messages: ClientMessage[], dialect: Dialect): Promise<void> {
  const { exchange, caller } = posting
  const outlet = new Outlet(exchange, {})
  if (await answerRefusedBatch(messages, conversation, caller, outlet)) return
  if (!messages.some((message) => message.kind === 'request')) {
    for (const message of messages) await sendOneWay(message, conversation, exchange)
    return outlet.empty(202)
  }
  outlet.open('events')
  conversation.keepStream(outlet, true)
  conversation.attach(outlet)
  try {
    await Promise.all(messages.map((message) => serveElement(posting, conversation, message, dialect, outlet)))
  } finally {
    conversation.detach(outlet, posting.now())
    outlet.end()
  }
}

async function answerRefusedBatch(messages: ClientMessage[], conversation: Conversation, caller: Caller, outlet: Outlet): Promise<boolean> {
  const judged = messages.map((message) => ({ message, decision: checkMessage(message, caller.access()) }))
  if (judged.every(({ decision }) => decision.allow)) return false
  const recorded: Promise<void>[] = []
  const answers = judged.flatMap(({ message, decision }) => {
    if (decision.allow) {
      const reason = 'not sent: another message of this batch was refused'
      if (message.kind !== 'request') return []
      recorded.push(conversation.recorder.notSent(message, reason))
      return [renderRpcError(message.id, -32600, reason)]
    }
    recorded.push(conversation.recorder.denied(message, decision))
    return message.kind === 'request'
      ? [renderRpcError(message.id, decision.kind === 'unknown_method' ? -32601 : -32602, decision.reason)]
      : []
  })
  await Promise.all(recorded)
  if (answers.length === 0) outlet.empty(202)
  else outlet.json(200, Buffer.from(`[${answers.map(String).join(',')}]`), { [ORIGIN_HEADER]: 'gateway' })
  return true
}

async function serveElement(
  posting: Posting,
  conversation: Conversation,
  message: ClientMessage,
  dialect: Dialect,
  outlet: Outlet,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const exchange = elementExchange(posting.exchange, outlet, message.id, resolve)
  try {
    if (message.kind !== 'request') return await sendOneWay(message, conversation, posting.exchange)
    await serveOne({ ...posting, exchange }, message, dialect)
  } catch (thrown) {
    const error = toAppError(thrown)
    await conversation.recorder.notSent(message, error.message)
    if (message.kind !== 'request') return
    await new Outlet(exchange, {}).fail(error, message.id)
  }
  await promise
}

/** The headers of the protocol itself, and the parameters a modern client mirrors into headers; nothing else goes up. */
export function protocolHeaders(exchange: HttpExchange, dialect: Dialect | undefined): Record<string, string> {
  const isModernDialect = dialect?.era === 'modern'
  const headers: Record<string, string> = {}
  for (const name of isModernDialect ? MODERN_HEADERS_UP : HEADERS_UP) {
    const value = exchange.headers[name]
    if (value !== undefined) headers[name] = value
  }
  if (isModernDialect) {
    for (const [name, value] of Object.entries(exchange.headers)) if (name.startsWith('mcp-param-')) headers[name] = value
  }
  return headers
}

function invalid(message: string): AppError {
  return new AppError('invalid_argument', message, { details: { rpc: -32600 } })
}

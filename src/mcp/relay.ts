import { AppError, toAppError } from '../lib/errors.ts'
import type { HttpExchange } from '../lib/http-exchange.ts'
import { frameSse, type SseEvent } from '../lib/sse.ts'
import type { Conversation, RunningRequest } from './conversation.ts'
import { idKey } from './request-ids.ts'
import { modernStatus, rpcOf } from './failure.ts'
import { ACKNOWLEDGED, ListSubscription } from './list-subscription.ts'
import { type Fields, fieldsOf, renderRpcError } from './message.ts'
import { MessageHead, readHead } from './message-head.ts'
import { findMethod } from './methods.ts'
import type { Outlet } from './outlet.ts'
import { READ_LIMIT, type Relayed } from './relayed.ts'
import { isAnswerTo, type KnownAnswer, notTheAnswer, parseJson, readPlainResponse } from './response.ts'
import { isUnknownMethod } from './upstream/healing-signs.ts'
import { readRedirect } from './upstream/redirect.ts'
import type { LargeReply, Reply } from './upstream/upstream.ts'

/** Sends a judged request and brings everything that belongs to it to the outlet. A failure becomes the answer. */
export async function relayRequest(
  relayed: Relayed,
  conversation: Conversation,
  exchange: HttpExchange,
  outlet: Outlet,
  headers: Readonly<Record<string, string>>,
): Promise<void> {
  const { message } = relayed
  const row = findMethod(message.method)
  const subscription = row?.endless && new ListSubscription(message, conversation, outlet)
  // A client of the legacy revisions that goes away cancels nothing; one of the modern revision cancels by going away.
  if (conversation.era === 'modern') abortWith(relayed, exchange.signal)
  try {
    // Its session may have ended, or somebody cancelled it, while its record was being written.
    conversation.assertOpen()
    if (relayed.signal.aborted) throw new AppError('cancelled', 'the request was cancelled')
    if (conversation.era === 'legacy') outlet.expectAnswer()
    const whole = row?.lists !== undefined || row?.offers === true
    const reply = await conversation.upstream.send({ ...message, headers, whole, caller: relayed.caller }, relayed.signal)
    if (subscription?.isAlone(reply)) await subscription.serveAlone(relayed.signal)
    if (reply.kind === 'message') {
      const { value } = reply
      const known = value && isAnswerTo(value, relayed.key) ? { response: value } : undefined
      const { bytes, response, written } = relayed.judge(reply.bytes, known)
      await written
      const code = conversation.era === 'modern' ? fieldsOf(response?.['error'])?.['code'] : undefined
      outlet.json(modernStatus(code), bytes)
    } else await deliver(reply, { relayed, conversation, outlet, subscription })
  } catch (thrown) {
    // A client ends its subscription by going away (2026-07-28, subscriptions): that is no failure.
    const isOver = relayed.isConcluded || (relayed.signal.aborted && !conversation.signal.aborted)
    if (subscription && isOver && (await isRecorded(relayed))) return await outlet.conclude(subscription.result)
    const error = conversation.signal.aborted ? conversation.why : asAnswer(thrown)
    await outlet.fail(await interrupted(relayed, error), message.id)
  } finally {
    relayed.isUnderWay = false
    subscription?.close()
  }
}

/** A request on its way to its answer. */
interface Relaying {
  relayed: Relayed
  conversation: Conversation
  outlet: Outlet
  subscription: ListSubscription | undefined
}

async function isRecorded(relayed: Relayed): Promise<boolean> {
  return relayed.conclude().then(
    () => true,
    () => false,
  )
}

function abortWith(relayed: Relayed, signal: AbortSignal): void {
  if (signal.aborted) relayed.abort()
  else signal.addEventListener('abort', () => relayed.abort(), { once: true })
}

/** Its own cancellation is no failure to a client. */
function asAnswer(thrown: unknown): AppError {
  const error = toAppError(thrown)
  return error.code === 'cancelled' ? new AppError('cancelled', 'the request was cancelled', { details: { http: 200 } }) : error
}

/** Records the failure; when even that fails, the client is told of that instead. */
async function interrupted(relayed: RunningRequest, error: AppError): Promise<AppError> {
  try {
    await relayed.interrupt(error.message, error.origin)
    return error
  } catch (thrown) {
    return toAppError(thrown)
  }
}

/** What is not one message in one piece. */
async function deliver(reply: Exclude<Reply, { kind: 'message' }>, relaying: Relaying): Promise<void> {
  const { relayed, conversation, outlet } = relaying
  switch (reply.kind) {
    case 'stream':
      return deliverStream(reply, relayed, outlet)
    case 'events':
      return deliverEvents(reply.events, relaying)
    case 'refused':
      return deliverRefusal(reply, relayed, conversation, outlet)
    case 'accepted':
      throw new AppError('unavailable', 'the MCP server took the request without an answer', { origin: 'upstream' })
  }
}

/** One chunk is held back, so that what the answer is, is known, and its end recorded, before it is whole. */
async function deliverStream({ chunks, length, giveBack }: LargeReply, relayed: Relayed, outlet: Outlet): Promise<void> {
  const write = async (chunk: Uint8Array): Promise<void> => {
    outlet.open('json', length)
    await outlet.write(chunk)
    if (outlet.isFlushed) giveBack?.(chunk)
  }
  const head = new MessageHead()
  let held: Uint8Array | undefined
  try {
    for await (const chunk of chunks) {
      if (head.push(chunk).isOtherThan(relayed.key)) throw notTheAnswer()
      if (held) await write(held)
      relayed.count(chunk.byteLength)
      held = chunk
    }
    if (!head.isAnswerTo(relayed.key)) throw notTheAnswer()
    await relayed.passed()
    if (held) await write(held)
    outlet.end()
  } catch (thrown) {
    if (outlet.state === 'empty') throw thrown
    await outlet.fail(await interrupted(relayed, toAppError(thrown)), relayed.message.id)
  }
}

async function deliverEvents(events: AsyncIterable<SseEvent>, { relayed, conversation, outlet, subscription }: Relaying): Promise<void> {
  let canResume = false
  let isAnswered = false
  outlet.open('events')
  const kept = conversation.keepStream(outlet)
  try {
    for await (const event of events) {
      canResume ||= event.id !== undefined
      const { bytes, answered } = await judgeEvent(event, relayed, conversation, subscription)
      if (bytes) await (kept ? kept.take(event, bytes, answered === relayed) : outlet.write(bytes))
      isAnswered ||= answered === relayed
    }
  } catch (thrown) {
    // What goes wrong after the answer is nothing to the client: a request has one answer.
    if (!isAnswered) throw thrown
  }
  // Early end of a stream with event ids: the client comes back by GET, where the answer is still judged as this request's.
  if (!isAnswered && !(canResume && conversation.era === 'legacy')) {
    throw new AppError('unavailable', 'the MCP server ended its stream without an answer', { origin: 'upstream' })
  }
  outlet.end()
}

/**
 * An event on its way to the client. A response is taken for the answer of the request that waits for it, whatever stream it
 * comes on; a response nobody waits for is dropped, for nobody could say what may be in it, and so is what is no clear message.
 */
export async function judgeEvent(
  event: SseEvent,
  relayed: Relayed | undefined,
  conversation: Conversation,
  subscription?: ListSubscription,
): Promise<{ bytes: Buffer | undefined; answered?: RunningRequest }> {
  const { data } = event
  if (data.length === 0) return { bytes: event.raw }
  const said = readMessage(data)
  if (!said) return { bytes: undefined }
  if (said.kind === 'call') {
    relayed?.count(event.raw.byteLength)
    if (!readHead(data).isClear) return { bytes: undefined }
    if (subscription && said.fields['method'] === ACKNOWLEDGED) return { bytes: subscription.acknowledge(data.toString('utf8')) }
    if (said.fields['id'] !== undefined) conversation.asked(said.fields['id'])
    return { bytes: event.raw }
  }
  const waiting = findAnswered(said.key, relayed, conversation)
  if (!waiting) return { bytes: undefined }
  const bytes = await judgeOrExplain(data, waiting, said.known)
  if (bytes === data) return { bytes: event.raw, answered: waiting }
  const framed = frameSse({
    data: bytes,
    ...(event.event !== 'message' && { event: event.event }),
    ...(event.id !== undefined && { id: event.id }),
    ...(event.retry !== undefined && { retry: event.retry }),
  })
  return { bytes: framed, answered: waiting }
}

type Said = { kind: 'call'; fields: Fields } | { kind: 'answer'; key: string; known?: KnownAnswer }

/** A message of the server, as far as it has to be read; undefined for what is none. An answer that is not clear is known by what its last id says. */
function readMessage(data: Buffer): Said | undefined {
  const response = readPlainResponse(data)
  if (response) return { kind: 'answer', key: idKey(response['id']), known: { response } }
  const key = data.length > READ_LIMIT ? readHead(data).answered : undefined
  if (key !== undefined) return { kind: 'answer', key, known: {} }
  const fields = fieldsOf(parseJson(data))
  if (!fields) return undefined
  return fields['method'] === undefined ? { kind: 'answer', key: idKey(fields['id']) } : { kind: 'call', fields }
}

/** Modern requests of one credential share a conversation and may share ids: a stream answers its own request only. */
function findAnswered(key: string, relayed: Relayed | undefined, conversation: Conversation): RunningRequest | undefined {
  if (conversation.era === 'legacy') return conversation.findWaiting(key)
  return relayed?.key === key ? relayed : undefined
}

/** A response that cannot be judged is an error for its request alone: the stream may carry more. */
async function judgeOrExplain(data: Buffer, waiting: RunningRequest, known: KnownAnswer | undefined): Promise<Buffer> {
  try {
    const { bytes, written } = waiting.judge(data, known)
    await written
    return bytes
  } catch (thrown) {
    const error = await interrupted(waiting, toAppError(thrown))
    return renderRpcError(waiting.message.id, rpcOf(error), error.message)
  }
}

/** An HTTP error of the MCP server itself. Its JSON-RPC body is passed on; a challenge meant for us is not the client's to answer. */
async function deliverRefusal(
  reply: Extract<Reply, { kind: 'refused' }>,
  relayed: Relayed,
  conversation: Conversation,
  outlet: Outlet,
): Promise<void> {
  const { status } = reply
  const isUnknown = isUnknownMethod(reply)
  if (status === 404 && conversation.era === 'legacy' && !isUnknown) {
    throw new AppError('not_found', 'the MCP server no longer knows this session: initialize again', {
      origin: 'upstream',
      details: { rpc: -32001 },
    })
  }
  const redirect = readRedirect(reply)
  if (redirect !== undefined) throw new AppError('unavailable', redirect, { origin: 'upstream' })
  const response = fieldsOf(parseJson(reply.bytes))
  const isOurs = status === 401 || status === 403 || status === 407
  if (isOurs || status >= 500 || fieldsOf(response?.['error']) === undefined) {
    const meaning = isOurs ? `refused the gateway's credentials (HTTP ${status})` : `answered with HTTP ${status}`
    throw new AppError('unavailable', `the MCP server ${meaning}`, { origin: 'upstream' })
  }
  const { bytes, written } = relayed.judge(reply.bytes)
  await written
  // To a legacy client 404 would mean that its session is gone.
  outlet.json(isUnknown && conversation.era === 'legacy' ? 200 : status, bytes, { 'sallyport-error-origin': 'upstream' })
}

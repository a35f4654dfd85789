import { AppError } from '../../lib/errors.ts'
import type { SseEvent } from '../../lib/sse.ts'
import { keyOfRaw } from '../request-ids.ts'
import { fieldsOf, renderRpcError } from '../message.ts'
import { ORIGIN_HEADER } from '../failure.ts'
import type { Outlet } from '../outlet.ts'
import { notTheAnswer } from '../response.ts'
import { exposeResponse, mayHold } from './answers.ts'
import { type Incoming, renderEvent, translate } from './incoming.ts'
import type { ListKind } from '../list-kinds.ts'
import { MessageHead, readHead } from '../message-head.ts'
import { type MemberReply, readEvents } from './member-exchange.ts'
import type { Questions } from './questions.ts'

/** A request that was forwarded. */
export interface Delivery {
  server: string
  method: string
  /** JSON text. */
  id: string | undefined
  era: 'legacy' | 'modern'
  questions: Questions | undefined
  /** The method of the request that a response on this stream answers. */
  answered: (id: unknown) => string | undefined
  /** Whether a token of progress is that of a request of another server. */
  isForeignToken: (token: unknown) => boolean
  onChanged: (kind: ListKind) => void
  /** Called whenever the member has said something. */
  onProgress: () => void
  /** What the client is told of what broke the answer off. */
  explain: (thrown: unknown) => AppError
}

/** Up to here an answer is looked at; what is larger passes as it comes. */
const MAX_HELD = 1024 * 1024
/** What a client takes for its own session, or its own credential, when it is about the member's. */
const NOT_THE_CLIENTS = new Set([401, 403, 404, 405, 407])

/**
 * Brings a member's answer to the client, renaming what has another name here.
 * @returns whether the request is over; a legacy stream with ids may end before its answer, which then comes by GET.
 * @throws AppError when the answer breaks off before anything of it was passed on.
 */
export async function deliver(reply: MemberReply, delivery: Delivery, outlet: Outlet): Promise<boolean> {
  return reply.isEvents && reply.status === 200 ? deliverEvents(reply, delivery, outlet) : deliverMessage(reply, delivery, outlet)
}

async function deliverMessage(reply: MemberReply, delivery: Delivery, outlet: Outlet): Promise<true> {
  const key = keyOfRaw(delivery.id)
  const head = new MessageHead()
  let held: Uint8Array[] = []
  let size = 0
  for await (const chunk of reply.chunks) {
    delivery.onProgress()
    size += chunk.byteLength
    if (reply.status === 200 && head.push(chunk).isOtherThan(key)) throw notTheAnswer()
    held.push(chunk)
    if (size <= MAX_HELD) continue
    if (reply.status !== 200) throw new AppError('unavailable', `the MCP server answered with HTTP ${reply.status}`, { origin: 'upstream' })
    outlet.open('json')
    // The last chunk waits until it is known what all of it is.
    held = await writeAllButLast(held, outlet)
  }
  if (reply.status === 200 && !head.isAnswerTo(key)) throw notTheAnswer()
  if (outlet.state === 'streaming') {
    for (const one of held) await outlet.write(one)
    outlet.end()
  } else answer(reply, held.length === 1 && held[0] ? Buffer.from(held[0]) : Buffer.concat(held), delivery, outlet)
  return true
}

async function writeAllButLast(chunks: readonly Uint8Array[], outlet: Outlet): Promise<Uint8Array[]> {
  for (const one of chunks.slice(0, -1)) await outlet.write(one)
  return chunks.slice(-1)
}

function answer({ status, headers }: MemberReply, bytes: Buffer, { server, method, id, era }: Delivery, outlet: Outlet): void {
  const origin = headers[ORIGIN_HEADER]
  const extra = { ...(origin !== undefined && { [ORIGIN_HEADER]: origin }) }
  if (status === 200) return outlet.json(200, exposeResponse(method, server, bytes), extra)
  const error = errorOf(bytes)
  const code = error?.['code']
  if (typeof code !== 'number') throw new AppError('unavailable', `the MCP server answered with HTTP ${status}`, { origin: 'upstream' })
  const message = typeof error?.['message'] === 'string' ? error['message'] : `HTTP ${status}`
  const isUnknownMethod = era === 'modern' && status === 404 && code === -32601
  outlet.json(NOT_THE_CLIENTS.has(status) && !isUnknownMethod ? 200 : status, renderRpcError(id, code, message, error?.['data']), extra)
}

function errorOf(bytes: Buffer): Readonly<Record<string, unknown>> | undefined {
  try {
    return fieldsOf(fieldsOf(JSON.parse(bytes.toString('utf8')))?.['error'])
  } catch {
    return undefined // not JSON: the status is all there is to tell
  }
}

async function deliverEvents(reply: MemberReply, delivery: Delivery, outlet: Outlet): Promise<boolean> {
  let isAnswered = false
  let canResume = false
  outlet.open('events')
  try {
    for await (const event of readEvents(reply)) {
      // Comments are the agent's, to keep the connection open.
      if (!event.isComment) delivery.onProgress()
      // The member keeps what its client has not read, and gives it when our client comes back.
      if (canResume && delivery.era === 'legacy' && outlet.isGone) break
      canResume ||= event.id !== undefined
      const { bytes, isResponse } = passed(event, delivery)
      if (bytes) await outlet.write(bytes)
      isAnswered ||= isResponse
    }
    if (!isAnswered && !(canResume && delivery.era === 'legacy'))
      throw new AppError('unavailable', 'the MCP server ended its stream without an answer', { origin: 'upstream' })
  } catch (thrown) {
    if (!isAnswered) {
      await outlet.fail(delivery.explain(thrown), delivery.id)
      return true
    }
    // What goes wrong after the answer is nothing to the client: a request has one answer.
  }
  outlet.end()
  return isAnswered
}

function passed(event: SseEvent, delivery: Delivery): { bytes: Buffer | undefined; isResponse: boolean } {
  const { server, questions, era, answered, isForeignToken } = delivery
  // Streams of the modern revision cannot be resumed and have no ids.
  const place = era === 'legacy' ? server : undefined
  if (event.isComment) return { bytes: event.raw, isResponse: false }
  if (event.data.length === 0) return { bytes: renderEvent(event, undefined, place), isResponse: false }
  if (!mayHold(event.data) && readHead(event.data).isAnswerTo(keyOfRaw(delivery.id)))
    return { bytes: renderEvent(event, undefined, place), isResponse: true }
  const incoming: Incoming = translate(event.data.toString('utf8'), { server, questions, methodOf: answered, isForeignToken })
  if (incoming.changed) delivery.onChanged(incoming.changed)
  if (incoming.text === undefined) return { bytes: undefined, isResponse: false }
  return { bytes: renderEvent(event, incoming.text, place), isResponse: incoming.kind === 'response' }
}

import { AppError } from '../../lib/errors.ts'
import { fieldsOf } from '../message.ts'
import { readResponse, resultOf } from './channel.ts'
import { POST_HEADERS } from './headers.ts'
import { type MemberReply, type MemberRequest, sendTo } from './member-exchange.ts'
import { type Offers, offersOf } from './offered.ts'
import type { Member } from './view.ts'

/** A session of one member, on behalf of a session of ours. */
export interface Peer {
  /** As the client's last credential reaches it. */
  member: Member
  sessionId: string | undefined
  revision: string
  offers: Offers
  instructions: string | undefined
  opening: Opening
}

/** What sessions of members are opened with: all of it the client's. */
export interface Opening {
  /** JSON text of the params of `initialize`. */
  params: string
  headers: Readonly<Record<string, string>>
  remoteAddress: string
}

const MAX_BYTES = 1024 * 1024
/** Far more than is ever shown. */
const MAX_INSTRUCTIONS = 4096
const NOTHING = Buffer.alloc(0)

/** Shakes hands with a member. @throws AppError when it does not take part, or speaks no revision with sessions. */
export async function openPeer(member: Member, opening: Opening, id: string, signal: AbortSignal): Promise<Peer> {
  const { headers, remoteAddress, params } = opening
  const body = Buffer.from(`{"jsonrpc":"2.0","id":${id},"method":"initialize","params":${params}}`)
  const request = { method: 'POST', headers: { ...headers, ...POST_HEADERS }, body, remoteAddress }
  const reply = await sendTo(member, request, signal)
  const result = resultOf(await readResponse(reply, id, MAX_BYTES), reply.status)
  const { protocolVersion: revision, instructions } = result
  if (typeof revision !== 'string') throw new AppError('unavailable', 'initialize was answered without a revision', { origin: 'upstream' })
  const peer: Peer = {
    member,
    sessionId: reply.headers['mcp-session-id'],
    revision,
    offers: offersOf(fieldsOf(result['capabilities'])),
    instructions: typeof instructions === 'string' ? instructions.slice(0, MAX_INSTRUCTIONS) : undefined,
    opening,
  }
  await post(peer, Buffer.from('{"jsonrpc":"2.0","method":"notifications/initialized"}'), signal).then(discard)
  return peer
}

/** Sends a message on the session. */
export function post(peer: Peer, body: Buffer, signal: AbortSignal): Promise<MemberReply> {
  return sendTo(peer.member, requestOf(peer, 'POST', POST_HEADERS, body), signal)
}

/** Opens the stream of the session's messages that belong to no request. */
export function get(peer: Peer, lastEventId: string | undefined, signal: AbortSignal): Promise<MemberReply> {
  const headers = { accept: 'text/event-stream', ...(lastEventId !== undefined && { 'last-event-id': lastEventId }) }
  return sendTo(peer.member, requestOf(peer, 'GET', headers), signal)
}

/** Ends the session at the member. */
export async function end(peer: Peer, signal: AbortSignal): Promise<void> {
  if (peer.sessionId !== undefined) discard(await sendTo(peer.member, requestOf(peer, 'DELETE', {}), signal))
}

function requestOf(peer: Peer, method: string, headers: Readonly<Record<string, string>>, body: Buffer = NOTHING): MemberRequest {
  const { opening, revision, sessionId } = peer
  const session = { 'mcp-protocol-version': revision, ...(sessionId !== undefined && { 'mcp-session-id': sessionId }) }
  const all = { ...opening.headers, ...headers, ...session }
  return { method, headers: all, body, remoteAddress: opening.remoteAddress }
}

function discard(reply: MemberReply): void {
  reply.discard()
}

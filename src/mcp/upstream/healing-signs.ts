import { fieldsOf } from '../message.ts'
import { parseJson } from '../response.ts'
import type { SseEvent } from '../../lib/sse.ts'
import { type StopSignal, toAbortSignal } from '../../lib/stopping.ts'
import type { Outgoing, Reply, UpstreamSession } from './upstream.ts'

type Refusal = Extract<Reply, { kind: 'refused' }>

const METHOD_NOT_FOUND = -32601
const ASKING_MS = 5000
const MAX_WORDS = 4096
/** An id that no client has by chance. */
const ID = '"sallyport-does-this-session-live"'
const PING = Buffer.from(`{"jsonrpc":"2.0","id":${ID},"method":"ping"}`)

/** To the client the same as a server that offers no stream. */
export const NO_STREAM: Refusal = { kind: 'refused', status: 405, bytes: Buffer.alloc(0), contentType: '' }

/**
 * Whether the answer to a message says that the server has no such session. It does so with 404 (MCP 2025-11-25, basic/transports). Servers made
 * after older examples of the SDKs use 400, as for anything else that is wrong with a request; when their words speak of a session, they are asked.
 */
export async function tellsOfLoss(
  session: UpstreamSession,
  { status, bytes }: Refusal,
  message: Outgoing,
  signal: StopSignal,
): Promise<boolean> {
  if (session.externalId === undefined) return false
  if (status === 404) return !isUnknownMethod({ status, bytes })
  return status === 400 && speaksOfSession(bytes) && !(await isAlive(session, message.headers, signal))
}

/**
 * The same for the answer to GET. There 404 and 400 tell nothing: so answer, too, servers that have no streams, and no route for this method.
 */
export async function losesListener(
  session: UpstreamSession,
  reply: Refusal,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<boolean> {
  return session.externalId !== undefined && hasNoStream(reply) && !(await isAlive(session, headers, signal))
}

/** Whether an answer to GET, in a session that lives, is that of a server without streams. */
export function hasNoStream({ status }: Refusal): boolean {
  return status === 400 || status === 404
}

/** 404 for a method that the server does not know, as 2026-07-28 wants it: some answer legacy clients so, too. It says nothing about the session. */
export function isUnknownMethod({ status, bytes }: Pick<Refusal, 'status' | 'bytes'>): boolean {
  return status === 404 && fieldsOf(fieldsOf(parseJson(bytes))?.['error'])?.['code'] === METHOD_NOT_FOUND
}

function speaksOfSession(bytes: Buffer): boolean {
  return /session|not initialized/i.test(bytes.subarray(0, MAX_WORDS).toString('latin1'))
}

/** Of a session that is in doubt: it lives unless the server refuses a ping, too. */
async function isAlive(session: UpstreamSession, headers: Readonly<Record<string, string>>, signal: StopSignal): Promise<boolean> {
  const ping = {
    kind: 'request',
    bytes: PING,
    id: ID,
    method: 'ping',
    progressToken: undefined,
    headers: fresh(headers),
    whole: true,
  } as const
  try {
    const reply = await session.send(ping, AbortSignal.any([toAbortSignal(signal), AbortSignal.timeout(ASKING_MS)]))
    if (reply.kind === 'events') await exhaust(reply.events)
    return !(
      reply.kind === 'refused' &&
      ((reply.status === 404 && !isUnknownMethod(reply)) || (reply.status === 400 && speaksOfSession(reply.bytes)))
    )
  } catch {
    return true // it says nothing: what the server said first is the answer
  }
}

/** An event id of the lost session means nothing in the new one. */
export function fresh({ 'last-event-id': _, ...headers }: Readonly<Record<string, string>>): Record<string, string> {
  return headers
}

export async function exhaust(events: AsyncIterable<SseEvent>): Promise<void> {
  for await (const _ of events) continue
}

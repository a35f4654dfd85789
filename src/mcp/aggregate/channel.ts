import { AppError } from '../../lib/errors.ts'
import { parseExact } from '../../lib/json-scan.ts'
import { idKey } from '../request-ids.ts'
import { type Fields, fieldsOf } from '../message.ts'
import { type MemberReply, readEvents, readWhole } from './member-exchange.ts'
import type { Member } from './view.ts'

/** One message on its way to a member. */
export interface Forwarded {
  bytes: Buffer
  method: string
  /** What the header `Mcp-Name` has to repeat. */
  name?: string | undefined
  /** Further headers of the protocol. */
  headers?: Readonly<Record<string, string>>
}

/** How one client's messages reach the members, in the client's own era. */
export interface Channel {
  readonly era: 'legacy' | 'modern'
  /** Servers may have another list for clients of another one. */
  readonly revision: string
  readonly owner: string
  /** Within which answers to the same question are the same: the session, or the owner of a client without one. */
  readonly scope: string
  /** `clientInfo.name`; unverified, and nothing that security rests on. */
  readonly clientName: string | undefined
  /** What requests of ours carry as `params._meta`. */
  readonly meta: Fields | undefined
  /** An id for a request of ours, as JSON text, that no request of the client has. */
  nextId(): string
  /** Whether the member said that it has nothing of the kind. May open a session. */
  lacks(member: Member, capability: string, signal: AbortSignal): Promise<boolean>
  send(member: Member, message: Forwarded, signal: AbortSignal): Promise<MemberReply>
}

/** JSON-RPC: no such method. */
export const METHOD_NOT_FOUND = -32601

/** What a member said to a request of ours. */
export interface Asked {
  /** Numbers as they were written: for `renderExact`. */
  result: Fields
  bytes: number
}

/**
 * A request of our own to a member.
 * @throws AppError when it cannot be answered; `details.rpc` is the member's own code for an error that it answered with.
 */
export async function ask(
  channel: Channel,
  member: Member,
  method: string,
  params: Fields,
  options: { signal: AbortSignal; maxBytes: number },
): Promise<Asked> {
  const id = channel.nextId()
  const all = { ...params, ...(channel.meta && { _meta: channel.meta }) }
  const bytes = Buffer.from(`{"jsonrpc":"2.0","id":${id},"method":${JSON.stringify(method)},"params":${JSON.stringify(all)}}`)
  const reply = await channel.send(member, { bytes, method }, options.signal)
  const text = await readResponse(reply, id, options.maxBytes)
  return { result: resultOf(text, reply.status), bytes: text.length }
}

/** The text of the response in a member's answer, whatever its form. */
export async function readResponse(reply: MemberReply, id: string, maxBytes: number): Promise<string> {
  if (!reply.isEvents) return (await readWhole(reply, maxBytes)).toString('utf8')
  const key = idKey(JSON.parse(id))
  let size = 0
  for await (const event of readEvents(reply)) {
    size += event.raw.byteLength
    if (size > maxBytes) throw new AppError('resource_exhausted', 'the answer of the MCP server is too large', { origin: 'upstream' })
    if (event.data.length === 0) continue
    const text = event.data.toString('utf8')
    const message = fieldsOf(readJson(text))
    if (message && message['method'] === undefined && idKey(message['id']) === key) return text
  }
  throw new AppError('unavailable', 'the MCP server ended its stream without an answer', { origin: 'upstream' })
}

/** @throws AppError with what the member said in place of a result. */
export function resultOf(text: string, status: number): Fields {
  const response = fieldsOf(readJson(text))
  const result = fieldsOf(response?.['result'])
  if (result && status === 200) return result
  const error = fieldsOf(response?.['error'])
  const said = error?.['message']
  const code = error?.['code']
  const message = typeof said === 'string' ? said.slice(0, 300) : `the MCP server answered with HTTP ${status}`
  throw new AppError('unavailable', message, {
    origin: 'upstream',
    details: { status, ...(typeof code === 'number' && { rpc: code }) },
  })
}

/** That the caller may not, or that there is no such server for it: what it said before is not the caller's to see any more. */
export function isRefusal({ details }: AppError): boolean {
  const { status, rpc } = details ?? {}
  // 404 with this code is how a server of 2026-07-28 says that it does not know the method.
  return status === 401 || status === 403 || (status === 404 && rpc !== METHOD_NOT_FOUND)
}

function readJson(text: string): unknown {
  try {
    return parseExact(text)
  } catch {
    return undefined // not JSON: the caller says that there is no answer
  }
}

import { AppError } from '../../lib/errors.ts'
import type { Span } from '../../lib/json-scan.ts'
import type { AsWritten, InFlight, Owner } from './in-flight.ts'
import { classifyLine, findCancelled, findIdAndToken, findSubscription } from './incoming.ts'
import type { Incoming, Mention } from './incoming.ts'
import type { Outgoing } from './upstream.ts'

export type Renumbered = Outgoing & { asWritten?: AsWritten }

/**
 * Requests of several clients share one process, and each client counts its ids and progress tokens for itself: on the way to the server they
 * become one number of ours, on the way back what the client wrote. All else stays as it is to the byte.
 *
 * @param number the id that the request has at the server, raw JSON text.
 */
export function renumber(message: Outgoing, number: string, owner: Owner): Renumbered {
  const { bytes, id } = message
  if (id === undefined) throw new AppError('internal', 'a request needs an id')
  const plain = message.progressToken === undefined ? putId(bytes, id, number) : undefined
  if (plain) return { ...message, id: number, bytes: plain, asWritten: { owner, id, progressToken: undefined } }
  const spans = findIdAndToken(bytes)
  if (spans.id === undefined) throw new AppError('internal', 'a request needs an id')
  const edits: Edit[] = [{ span: spans.id, text: number }]
  if (spans.progressToken) edits.push({ span: spans.progressToken, text: number })
  const token = spans.progressToken && bytes.toString('utf8', spans.progressToken.start, spans.progressToken.end)
  return {
    ...message,
    id: number,
    progressToken: token === undefined ? undefined : number,
    bytes: splice(bytes, edits),
    asWritten: { owner, id: bytes.toString('utf8', spans.id.start, spans.id.end), progressToken: token },
  }
}

/**
 * A `notifications/cancelled` of a client as the server has to read it; undefined when it is about no request, or about one of several that
 * have the same id: the server knows none of that name, and whose it is nobody can tell.
 *
 * @param find finds a request by the key of the id that its client gave it.
 */
export function renumberCancelled(message: Outgoing, find: (key: string) => InFlight | undefined): Outgoing | undefined {
  const mention = findCancelled(message.bytes)
  const request = mention && find(mention.key)
  return request && { ...message, bytes: splice(message.bytes, [{ span: mention.span, text: request.rawId }]) }
}

/** A line of the server that belongs to `request`, in the words of the client who sent that; unchanged when it was not renumbered. */
export function restore(line: Buffer, incoming: Extract<Incoming, { kind: 'response' | 'notification' }>, request: InFlight): Buffer {
  const { asWritten } = request
  if (!asWritten) return line
  const edits: Edit[] = []
  const put = (mention: Mention | undefined, text: string | undefined): void => {
    if (mention?.key === request.id && text !== undefined) edits.push({ span: mention.span, text })
  }
  if (incoming.kind === 'response') {
    put(incoming.id, asWritten.id)
    if (request.isSubscription) put(findSubscription(line, incoming.result), asWritten.id)
  } else {
    put(incoming.progressToken, asWritten.progressToken)
    put(incoming.subscription, asWritten.id)
    put(incoming.cancels, asWritten.id)
  }
  return splice(line, edits)
}

/** What stands before the id where it is written second, as most programs do. */
const BEFORE_ID = '{"jsonrpc":"2.0","id":'

/**
 * A message with another id, both raw JSON text, where its place shows without a look at each byte: second, or last as the official SDK writes
 * it. Undefined elsewhere. Of one clear message neither end can be anything else: a quote within a text would have a backslash before it.
 */
export function putId(bytes: Buffer, id: string, other: string): Buffer | undefined {
  const first = `${BEFORE_ID}${id},`
  if (bytes.toString('latin1', 0, first.length) === first) return replace(bytes, BEFORE_ID.length, id.length, other)
  const last = `,"id":${id}}`
  const at = bytes.length - last.length
  return at > 0 && bytes.toString('latin1', at) === last ? replace(bytes, bytes.length - 1 - id.length, id.length, other) : undefined
}

function replace(bytes: Buffer, at: number, length: number, text: string): Buffer {
  const size = Buffer.byteLength(text)
  const replaced = Buffer.allocUnsafe(bytes.length - length + size)
  bytes.copy(replaced, 0, 0, at)
  replaced.write(text, at)
  bytes.copy(replaced, at + size, at + length)
  return replaced
}

/** A response with another id, raw JSON text. */
export function withId(line: Buffer, id: string): Buffer {
  const incoming = classifyLine(line)
  if (incoming.kind !== 'response') throw new AppError('internal', 'this is no response')
  return splice(line, [{ span: incoming.id.span, text: id }])
}

interface Edit {
  span: Span
  text: string
}

/** Spans must not overlap. */
function splice(bytes: Buffer, edits: Edit[]): Buffer {
  if (edits.length > 1) edits.sort((a, b) => a.span.start - b.span.start)
  const parts: Buffer[] = []
  let at = 0
  for (const { span, text } of edits) {
    parts.push(bytes.subarray(at, span.start), Buffer.from(text))
    at = span.end
  }
  parts.push(bytes.subarray(at))
  return Buffer.concat(parts)
}

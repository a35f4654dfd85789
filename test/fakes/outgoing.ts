import { AppError } from '../../src/lib/errors.ts'
import type { SseEvent } from '../../src/lib/sse.ts'
import type { Outgoing, Reply } from '../../src/mcp/upstream/upstream.ts'

/** A signal that never fires. */
export const never = new AbortController().signal

/** A request as the gateway would send it; `id` is raw JSON text. */
export function request(id: string, method: string, params: object = {}, more: Partial<Outgoing> = {}): Outgoing {
  const bytes = Buffer.from(`{"jsonrpc":"2.0","id":${id},"method":${JSON.stringify(method)},"params":${JSON.stringify(params)}}`)
  return { kind: 'request', bytes, id, method, progressToken: undefined, headers: {}, whole: false, ...more }
}

/** A `tools/call`. */
export function call(id: string, name: string, args: object = {}, more: Partial<Outgoing> = {}): Outgoing {
  const meta = more.progressToken === undefined ? {} : { _meta: { progressToken: JSON.parse(more.progressToken) } }
  return request(id, 'tools/call', { name, arguments: args, ...meta }, more)
}

export function notification(method: string, params: object = {}): Outgoing {
  const bytes = Buffer.from(JSON.stringify({ jsonrpc: '2.0', method, params }))
  return { kind: 'notification', bytes, id: undefined, method, progressToken: undefined, headers: {}, whole: false }
}

export function response(id: string, result: object): Outgoing {
  const bytes = Buffer.from(`{"jsonrpc":"2.0","id":${id},"result":${JSON.stringify(result)}}`)
  return { kind: 'response', bytes, id, method: undefined, progressToken: undefined, headers: {}, whole: false }
}

/** The text of a reply that is one message; fails for any other. */
export function messageText(reply: Reply): string {
  if (reply.kind !== 'message') throw new Error(`expected a message, got ${reply.kind}`)
  return reply.bytes.toString('utf8')
}

/** The text a tool answered with. */
export function toolText(reply: Reply): string {
  return textOfResult(messageText(reply))
}

export function textOfResult(message: string): string {
  const parsed: unknown = JSON.parse(message)
  const text = /* the shape every tool of the fakes answers with */ (parsed as { result: { content: [{ text: string }] } }).result
    .content[0].text
  return text
}

/** The events of a reply that is a stream; fails for any other. */
export function eventsOf(reply: Reply): AsyncIterable<SseEvent> {
  if (reply.kind !== 'events') throw new Error(`expected events, got ${reply.kind}`)
  return reply.events
}

/** The data of the next `count` events, the stream staying open; of all when undefined. */
export async function readData(events: AsyncIterable<SseEvent>, count = Number.POSITIVE_INFINITY): Promise<string[]> {
  const iterator = events[Symbol.asyncIterator]()
  const data: string[] = []
  while (data.length < count) {
    const next = await iterator.next()
    if (next.done) break
    data.push(next.value.data.toString())
  }
  return data
}

/** What a rejection says: code, origin and message. */
export async function faultOf(promise: Promise<unknown>): Promise<{ code: string; origin: string; message: string }> {
  try {
    await promise
  } catch (error) {
    if (error instanceof AppError) return { code: error.code, origin: error.origin, message: error.message }
    throw error
  }
  throw new Error('expected a failure')
}

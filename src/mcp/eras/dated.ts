import type { SseEvent } from '../../lib/sse.ts'
import { keyOfRaw, idKey } from '../request-ids.ts'
import type { Fields } from '../message.ts'
import type { Outgoing, Reply, UpstreamSession } from '../upstream/upstream.ts'
import { eventOf, objectOf, readMessage, renderAnswer } from './compose.ts'

/**
 * A session between a client and a server of different legacy revisions, after each was told its own in `initialize`: the header names the
 * server's, and content the client's does not know is lowered. Everything else that revisions added may be passed over by older clients.
 */
export function openDated(inner: UpstreamSession, revisions: { client: string; server: string }): UpstreamSession {
  const headersOf = (headers: Readonly<Record<string, string>>): Record<string, string> => ({
    ...headers,
    'mcp-protocol-version': revisions.server,
  })
  return {
    ended: inner.ended,
    get externalId() {
      return inner.externalId
    },
    async send(message, signal) {
      const headers = headersOf(message.headers)
      const isLoweredHere = message.method !== undefined && LOWERED.has(message.method) && isLowered(revisions.client)
      if (!isLoweredHere) return inner.send({ ...message, headers }, signal)
      return lowerReply(await inner.send({ ...message, headers, whole: true }, signal), message, revisions.client)
    },
    listen: (headers, signal) => inner.listen(headersOf(headers), signal),
    close: () => inner.close(),
  }
}

const LOWERED = new Set(['tools/call', 'prompts/get'])

function lowerReply(reply: Reply, request: Outgoing, revision: string): Reply {
  if (reply.kind === 'message') return { kind: 'message', bytes: lowerMessageBytes(reply.bytes, request, revision) ?? reply.bytes }
  return reply.kind === 'events' ? { kind: 'events', events: lowerEvents(reply.events, request, revision) } : reply
}

/** Events keep their ids unless they carry the answer itself. */
async function* lowerEvents(events: AsyncIterable<SseEvent>, request: Outgoing, revision: string): AsyncGenerator<SseEvent, void> {
  for await (const event of events) {
    const lowered = event.data.length > 0 ? lowerMessageBytes(event.data, request, revision) : undefined
    yield lowered ? eventOf(lowered) : event
  }
}

/** The answer to this request with its content lowered; undefined for any other message. */
function lowerMessageBytes(bytes: Buffer, { id = 'null', method = '' }: Outgoing, revision: string): Buffer | undefined {
  const message = readMessage(bytes)
  const result = objectOf(message?.['result'])
  if (!message || !result || idKey(message['id']) !== keyOfRaw(id)) return undefined
  return renderAnswer(id, { result: lowerContent(method, result, revision) })
}

/** Since when a tool or a prompt may answer with a kind of content (2025-03-26 and 2025-06-18, changelogs). */
const CONTENT_SINCE: Readonly<Record<string, string>> = { audio: '2025-03-26', resource_link: '2025-06-18' }

/** Whether some kinds of content are not known to clients of this revision. */
export function isLowered(revision: string): boolean {
  return Object.values(CONTENT_SINCE).some((since) => revision < since)
}

/** A result whose content a client of this revision can read: blocks it does not know become text that names what was there. */
export function lowerContent(method: string, result: Fields, revision: string): Fields {
  if (!isLowered(revision)) return result
  const { content, messages } = result
  if (method === 'tools/call' && Array.isArray(content))
    return { ...result, content: content.map((block: unknown) => lowerBlock(block, revision)) }
  if (method === 'prompts/get' && Array.isArray(messages))
    return { ...result, messages: messages.map((message: unknown) => lowerMessage(message, revision)) }
  return result
}

function lowerMessage(message: unknown, revision: string): unknown {
  const fields = objectOf(message)
  return fields ? { ...fields, content: lowerBlock(fields['content'], revision) } : message
}

function lowerBlock(block: unknown, revision: string): unknown {
  const fields = objectOf(block)
  const type = fields?.['type']
  const since = typeof type === 'string' && Object.hasOwn(CONTENT_SINCE, type) ? CONTENT_SINCE[type] : undefined
  if (!fields || since === undefined || revision >= since) return block
  const named = [fields['title'] ?? fields['name'], fields['uri'], fields['mimeType']].filter((part) => typeof part === 'string')
  const what = type === 'audio' ? 'audio' : 'link to a resource'
  return { type: 'text', text: `[${[what, ...named].join(', ')}]` }
}

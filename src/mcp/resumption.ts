import type { HttpExchange } from '../lib/http-exchange.ts'
import type { Conversation } from './conversation.ts'
import { Outlet } from './outlet.ts'
import type { Found } from './replay.ts'

const LAST_EVENT_ID = 'last-event-id'
/** WHATWG HTML, server-sent events: the status that tells a client not to come back. */
const NOTHING_LEFT = 204

/**
 * Answers a GET of a client that lost the stream of a request and names an event of it: with what came after, and from then on with what
 * comes, until the request is answered (2025-03-26, Streamable HTTP, Resumability and Redelivery). What is sent was judged and recorded when
 * it came.
 * @returns false when no stream of the session has such an event: the GET is one like any other.
 */
export async function resumeStream(exchange: HttpExchange, conversation: Conversation, now: () => number): Promise<boolean> {
  if (!findRequest(exchange, conversation)) return false
  await conversation.recorder.listen()
  conversation.assertOpen()
  // Something may have been dropped meanwhile.
  const found = findRequest(exchange, conversation)
  const outlet = new Outlet(exchange, {})
  if (!found || found.stream.isOverAfter(found.place)) {
    outlet.empty(NOTHING_LEFT)
    return true
  }
  outlet.open('events')
  conversation.attach(outlet)
  try {
    outlet.keepAlive() // sends the head at once: clients wait for it
    await found.stream.follow(found, outlet, exchange.signal)
  } finally {
    conversation.detach(outlet, now())
    outlet.end()
  }
  return true
}

/** Where the client's stream of messages outside requests broke off; undefined when it does not say, or nobody knows any more. */
export function findListening(exchange: HttpExchange, conversation: Conversation): Found | undefined {
  const found = find(exchange, conversation)
  return found?.isListening ? found : undefined
}

/** The headers without an event id of this gateway's making, which no MCP server knows. */
export function withoutOurs(headers: Record<string, string>, conversation: Conversation): Record<string, string> {
  const { [LAST_EVENT_ID]: id, ...others } = headers
  return id !== undefined && conversation.isOurEvent(id) ? others : headers
}

function findRequest(exchange: HttpExchange, conversation: Conversation): Found | undefined {
  const found = find(exchange, conversation)
  return found?.isListening === false ? found : undefined
}

function find({ headers }: HttpExchange, conversation: Conversation): Found | undefined {
  const id = headers[LAST_EVENT_ID]
  return id === undefined ? undefined : conversation.replay?.find(id)
}

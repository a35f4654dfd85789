import type { HttpExchange } from '../lib/http-exchange.ts'
import { createSseParser, type SseEvent } from '../lib/sse.ts'
import { renderRpcError } from './message.ts'
import type { Outlet } from './outlet.ts'
import { toEvent } from './upstream/in-flight.ts'

/** Part of an exchange: its events are on a stream that is not its own. */
export interface ElementExchange extends HttpExchange {
  readonly isElement: true
}

/** Of an answer that becomes one event. */
const MAX_ELEMENT_BYTES = 16 * 1024 * 1024

/**
 * The exchange of one element of a batch (2025-03-26): whatever answers it becomes events on the one stream that answers the
 * batch, which that revision allows in place of an array, so that requests of the server can reach the client meanwhile.
 * @param id of its request, as JSON text: an answer that breaks off, or is above 16 MiB, becomes an error.
 */
export function elementExchange(exchange: HttpExchange, stream: Outlet, id: string | undefined, onDone: () => void): ElementExchange {
  const parser = createSseParser()
  let isEvents = false
  let writing: Promise<void> = Promise.resolve()
  let collected: Uint8Array[] = []
  let size = 0
  /** Each event gets its id where the stream is kept for a client that loses it, in the order in which they come. */
  const send = (event: SseEvent): void => {
    const { kept } = stream
    writing = kept ? kept.take(event, event.raw, event.hasData && !event.isComment) : stream.write(event.raw)
  }
  const pass = (chunk: Uint8Array): boolean => {
    for (const event of parser.push(chunk)) send(event)
    return false
  }
  const answer: HttpExchange['answer'] = {
    head: (_status, headers) => {
      isEvents = headers['content-type'] === 'text/event-stream'
    },
    write: (chunk) => {
      if (isEvents) return pass(chunk)
      size += chunk.byteLength
      if (size <= MAX_ELEMENT_BYTES) collected.push(chunk)
      return true
    },
    drained: () => writing,
    end: (chunk) => {
      if (chunk) answer.write(chunk)
      if (size > MAX_ELEMENT_BYTES) return answer.abort(`an answer within a batch may have ${MAX_ELEMENT_BYTES} bytes`)
      if (collected.length > 0) send(toEvent(Buffer.concat(collected)))
      collected = []
      void writing.finally(onDone)
    },
    abort: (reason) => {
      collected = []
      if (id !== undefined) send(toEvent(renderRpcError(id, -32603, reason)))
      void writing.finally(onDone)
    },
  }
  return { ...exchange, signal: exchange.signal, answer, isElement: true }
}

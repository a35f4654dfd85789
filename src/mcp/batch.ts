import type { HttpExchange } from '../lib/http-exchange.ts'
import { frameSse } from '../lib/sse.ts'
import type { Outlet } from './outlet.ts'

/** Part of an exchange: its events are on a stream that is not its own. */
export interface ElementExchange extends HttpExchange {
  readonly isElement: true
}

const MAX_ELEMENT_BYTES = 16 * 1024 * 1024

/**
 * The exchange of one element of a batch (2025-03-26): whatever answers it becomes events on the one stream that answers the
 * batch, which that revision allows in place of an array, so that requests of the server can reach the client meanwhile.
 */
export function elementExchange(exchange: HttpExchange, stream: Outlet, onDone: () => void): ElementExchange {
  let isEvents = false
  let collected: Uint8Array[] = []
  let size = 0
  const answer: HttpExchange['answer'] = {
    head: (_status, headers) => {
      isEvents = headers['content-type'] === 'text/event-stream'
    },
    write: (chunk) => {
      if (isEvents) return exchange.answer.write(chunk)
      size += chunk.byteLength
      if (size <= MAX_ELEMENT_BYTES) collected.push(chunk)
      return true
    },
    drained: () => exchange.answer.drained(),
    end: (chunk) => {
      if (chunk) answer.write(chunk)
      const isWhole = collected.length > 0 && size <= MAX_ELEMENT_BYTES
      const event = isWhole ? stream.write(frameSse({ data: Buffer.concat(collected).toString('utf8') })) : Promise.resolve()
      collected = []
      void event.finally(onDone)
    },
    abort: () => {
      collected = []
      onDone()
    },
  }
  return { ...exchange, signal: exchange.signal, answer, isElement: true }
}

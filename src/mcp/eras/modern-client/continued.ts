import { setTimeout as pause } from 'node:timers/promises'
import type { SseEvent } from '../../../lib/sse.ts'
import type { Reply } from '../../upstream/upstream.ts'

/** How often one answer is asked for again. */
const MAX_TIMES = 100
const DEFAULT_RETRY_MS = 1000
const MAX_RETRY_MS = 30_000

export interface Continuing {
  /** Fetches what came after the event of this id. */
  reopen: (lastEventId: string) => Promise<Reply>
  /** Whether there is nothing more to wait for. */
  isAnswered: () => boolean
  signal: AbortSignal
}

/**
 * The events that answer a request. A server may end their stream early once it sent an event with an id: the rest is fetched by GET
 * from there (2025-11-25, Streamable HTTP, resumability).
 */
export async function* continueEvents(
  first: AsyncIterable<SseEvent>,
  { reopen, isAnswered, signal }: Continuing,
): AsyncGenerator<SseEvent, void> {
  let events = first
  let lastId: string | undefined
  let retryMs = DEFAULT_RETRY_MS
  for (let times = 0; times < MAX_TIMES; times++) {
    for await (const event of events) {
      lastId = event.id ?? lastId
      retryMs = event.retry ?? retryMs
      yield event
    }
    if (lastId === undefined || isAnswered()) return
    await pause(Math.min(retryMs, MAX_RETRY_MS), undefined, { ref: false, signal })
    const next = await reopen(lastId)
    if (next.kind !== 'events') return
    events = next.events
  }
}

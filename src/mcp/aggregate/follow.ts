import type { SseEvent } from '../../lib/sse.ts'
import { type MemberReply, readEvents } from './member-exchange.ts'
import type { Timers } from '../../lib/timers.ts'
import { pause } from '../../lib/pause.ts'
import { within } from './waiting.ts'

export interface Followed {
  /** Opens the stream, after the event of this id when there was one; `signal` ends it. */
  open: (lastEventId: string | undefined, signal: AbortSignal) => Promise<MemberReply>
  /** How long that may take. */
  openMs: number
  onEvent: (event: SseEvent) => Promise<void>
  /** Where to begin. */
  lastEventId?: string | undefined
  timers: Timers
  /** Ends it. */
  signal: AbortSignal
  /** Told of what broke a stream off. */
  onFault: (thrown: unknown) => void
}

const FIRST_WAIT_MS = 1000
const LONGEST_WAIT_MS = 60_000
/** Characters of an event id that is sent back in a header. */
const MAX_ID = 1024
/** Statuses that another attempt would not change: there is no such stream, or it is not for this caller. */
const FINAL = new Set([400, 401, 403, 404, 405, 406])

/** Keeps a stream of a member open until `signal` fires or the member has none; one that ends is opened again, ever more slowly. */
export async function follow(followed: Followed): Promise<void> {
  const { timers, signal } = followed
  let { lastEventId } = followed
  let waitMs = FIRST_WAIT_MS
  while (!signal.aborted) {
    const attempt = new AbortController()
    const onEnd = (): void => attempt.abort()
    signal.addEventListener('abort', onEnd, { once: true })
    try {
      const reply = await within(timers, followed.openMs, signal, () => followed.open(lastEventId, attempt.signal))
      if (FINAL.has(reply.status) || (reply.status === 200 && !reply.isEvents)) return reply.discard()
      // The stream that was to be resumed is over, and all of it was read.
      if (reply.status === 204) lastEventId = undefined
      if (reply.status !== 200) reply.discard()
      else {
        for await (const event of readEvents(reply)) {
          if (event.id !== undefined) lastEventId = event.id === '' || event.id.length > MAX_ID ? undefined : event.id
          if (event.retry !== undefined) waitMs = Math.min(Math.max(event.retry, FIRST_WAIT_MS), LONGEST_WAIT_MS)
          else if (event.hasData) waitMs = FIRST_WAIT_MS
          await followed.onEvent(event)
        }
      }
    } catch (thrown) {
      if (!signal.aborted) followed.onFault(thrown)
    } finally {
      attempt.abort()
      signal.removeEventListener('abort', onEnd)
    }
    await pause(waitMs, signal, timers)
    waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS)
  }
}

import { AppError } from '../../../lib/errors.ts'
import type { SseEvent } from '../../../lib/sse.ts'
import type { Fields } from '../../message.ts'
import { sizeOfEvent } from '../../upstream/in-flight.ts'
import { createQueue, type Queue } from '../../upstream/queue.ts'
import type { Reply } from '../../upstream/upstream.ts'
import { eventOf, objectOf } from '../compose.ts'
import { isWanted } from './log-levels.ts'
import type { ModernRequest } from './modern-request.ts'

/** One request of the client on its way to its answer: the first try of a call, or a retry with answers. */
export interface Round {
  readonly request: ModernRequest
  /** A message alone when nothing came before it, else the events of a stream. */
  readonly reply: Promise<Reply>
  /** A notification of the server, if this request asked for it. */
  note(message: Fields): void
  finish(bytes: Buffer): void
  fail(error: unknown): void
}

/** Of notifications that the client has not read; what comes above it is left out. */
const MAX_WAITING_BYTES = 1024 * 1024

/** @param onAbandoned the client went away before the answer; `reply` or the iteration rejects with `cancelled` then. */
export function openRound(request: ModernRequest, signal: AbortSignal, onAbandoned: () => void): Round {
  const { promise, resolve, reject } = Promise.withResolvers<Reply>()
  let events: Queue<SseEvent> | undefined
  let isOver = false

  const over = (): boolean => {
    if (isOver) return false
    isOver = true
    signal.removeEventListener('abort', onAbort)
    return true
  }
  const onAbort = (): void => {
    if (!over()) return
    const error = new AppError('cancelled', `${request.method} was cancelled`)
    if (events) events.fail(error, true)
    else reject(error)
    onAbandoned()
  }
  const stream = (): Queue<SseEvent> => {
    if (events) return events
    events = createQueue({ sizeOf: sizeOfEvent, onAbandon: onAbort })
    resolve({ kind: 'events', events })
    return events
  }
  const round: Round = {
    request,
    reply: promise,
    note(message) {
      const note = isOver ? undefined : noteFor(request, message)
      if (note && (events?.bytes() ?? 0) < MAX_WAITING_BYTES) stream().push(eventOf(note))
    },
    finish(bytes) {
      if (!over()) return
      if (!events) return resolve({ kind: 'message', bytes })
      events.push(eventOf(bytes))
      events.end()
    },
    fail(error) {
      if (!over()) return
      if (events) events.fail(error instanceof Error ? error : new Error(String(error)))
      else reject(error)
    },
  }
  if (signal.aborted) onAbort()
  else signal.addEventListener('abort', onAbort, { once: true })
  return round
}

/** As this request may have it: progress under its own token, log messages from its own level on (2026-07-28, logging). */
function noteFor({ progressToken, logLevel }: ModernRequest, message: Fields): Fields | undefined {
  const params = objectOf(message['params']) ?? {}
  switch (message['method']) {
    case 'notifications/progress':
      return progressToken === undefined ? undefined : { ...message, params: { ...params, progressToken } }
    case 'notifications/message':
      return logLevel !== undefined && isWanted(params['level'], logLevel) ? message : undefined
    default:
      return message
  }
}

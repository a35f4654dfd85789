import { AppError } from '../../lib/errors.ts'
import { frameSse } from '../../lib/sse.ts'
import type { SseEvent } from '../../lib/sse.ts'
import type { Fields } from '../message.ts'
import { keyOf } from './incoming.ts'
import { createQueue } from './queue.ts'
import type { Queue } from './queue.ts'
import type { Outgoing, Reply } from './upstream.ts'

/** One request a stdio server has not answered yet. */
export interface InFlight {
  /** Key of its id. */
  readonly id: string
  /** Its id as the server knows it. */
  readonly rawId: string
  /** What its client wrote, when that is not what the server got. */
  readonly asWritten: AsWritten | undefined
  readonly method: string
  /** Whether it stays open for what the server has to tell. */
  readonly isSubscription: boolean
  readonly progressToken: string | undefined
  readonly reply: Promise<Reply>
  /** Bytes of its messages that wait for a slow reader. */
  queuedBytes(): number
  /** Something that belongs to it and is not the response. */
  deliver(line: Buffer): void
  /** The response; with its value, where that is known (see `Reply`). */
  finish(line: Buffer, value?: Fields): void
  /** No response will come, yet that is no failure: a subscription the server ended. */
  end(): void
  fail(error: Error): void
}

/** Whose conversation a request belongs to, where several share a process: known by identity alone. */
export type Owner = object

/** Raw JSON texts, and whose they are. */
export interface AsWritten {
  readonly owner: Owner
  readonly id: string
  readonly progressToken: string | undefined
}

export interface InFlightOptions {
  timeoutMs: number
  /** Whether so many bytes more may wait for a slow reader. */
  hasRoom: (bytes: number) => boolean
  server: string
  /** It is over; `atServer` is true when the server still works on it and has to be told. */
  onOver: (request: InFlight, atServer: boolean) => void
}

/** Follows one request from the moment it is sent until it is answered, fails, is aborted, or is too slow. */
export function createInFlight(
  message: Outgoing & { id: string; method: string; asWritten?: AsWritten },
  signal: AbortSignal,
  options: InFlightOptions,
): InFlight {
  const { promise, resolve, reject } = Promise.withResolvers<Reply>()
  let queue: Queue<SseEvent> | undefined
  let isOver = false

  const over = (atServer: boolean): boolean => {
    if (isOver) return false
    isOver = true
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
    options.onOver(request, atServer)
    return true
  }
  const failAs = (error: Error, atServer: boolean, dropItems: boolean): void => {
    if (!over(atServer)) return
    if (queue) queue.fail(error, dropItems)
    else reject(error)
  }
  const onAbort = (): void => failAs(new AppError('cancelled', `${message.method} was cancelled`), true, true)
  const timer = setTimeout(() => failAs(tooSlow(options, message.method), true, false), options.timeoutMs)

  const request: InFlight = {
    id: keyOf(message.id),
    rawId: message.id,
    asWritten: message.asWritten,
    method: message.method,
    isSubscription: message.method === SUBSCRIBE,
    progressToken: message.progressToken === undefined ? undefined : keyOf(message.progressToken),
    reply: promise,
    queuedBytes: () => queue?.bytes() ?? 0,
    deliver(line) {
      if (isOver) return
      // A subscription stays open as long as it likes once the server has taken it.
      if (request.isSubscription) clearTimeout(timer)
      if (!queue) {
        queue = createQueue({ sizeOf: sizeOfEvent, onAbandon: () => over(true) })
        resolve({ kind: 'events', events: queue })
      } else if (queue.bytes() > 0 && !options.hasRoom(line.length)) {
        return failAs(notRead(message.method), true, false)
      }
      queue.push(toEvent(line))
    },
    finish(line, value) {
      if (!over(false)) return
      if (!queue) return resolve({ kind: 'message', bytes: line, ...(value && { value }) })
      queue.push(toEvent(line))
      queue.end()
    },
    end() {
      if (!queue) return request.fail(noAnswer(options, message.method))
      if (over(false)) queue.end()
    },
    fail: (error) => failAs(error, false, false),
  }
  signal.addEventListener('abort', onAbort, { once: true })
  return request
}

const SUBSCRIBE = 'subscriptions/listen'

/** A message of a stdio server as the event that carries it to a client over HTTP; its text stays as it is. */
export function toEvent(line: Buffer): SseEvent {
  return { raw: frameSse({ data: line }), event: 'message', data: line, hasData: true, isComment: false }
}

/** Bytes an event takes while it waits, whatever part of the first its data is. */
export function sizeOfEvent(event: SseEvent): number {
  return event.raw.length + event.data.length + 64
}

function notRead(method: string): AppError {
  return new AppError('resource_exhausted', `the messages of ${method} were not read in time: they take too much memory`)
}

function noAnswer(options: InFlightOptions, method: string): AppError {
  return new AppError('unavailable', `MCP server "${options.server}" ended ${method} without an answer`, { origin: 'upstream' })
}

function tooSlow(options: InFlightOptions, method: string): AppError {
  const seconds = Math.round(options.timeoutMs / 1000)
  return new AppError('deadline_exceeded', `MCP server "${options.server}" did not answer ${method} within ${seconds} s`, {
    origin: 'upstream',
  })
}

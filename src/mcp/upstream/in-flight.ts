import { AppError } from '../../lib/errors.ts'
import { frameSse } from '../../lib/sse.ts'
import type { SseEvent } from '../../lib/sse.ts'
import type { StopSignal } from '../../lib/stopping.ts'
import type { Fields } from '../message.ts'
import { keyOf } from './incoming.ts'
import { createQueue } from './queue.ts'
import type { Queue } from './queue.ts'
import type { Outgoing, Reply } from './upstream.ts'

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

/** A request as the server gets it. */
export type SentRequest = Outgoing & { id: string; method: string; asWritten?: AsWritten }

/** One request that a stdio server has not answered yet, from the moment it is sent until it is answered, fails, is aborted, or is too slow. */
export class InFlight {
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
  readonly #options: InFlightOptions
  readonly #signal: StopSignal
  readonly #answered: (reply: Reply) => void
  readonly #failed: (error: Error) => void
  readonly #onAbort = (): void => this.#failAs(new AppError('cancelled', `${this.method} was cancelled`), true, true)
  readonly #timer: NodeJS.Timeout
  #queue: Queue<SseEvent> | undefined
  #isOver = false

  constructor(message: SentRequest, signal: StopSignal, options: InFlightOptions) {
    const { promise, resolve, reject } = Promise.withResolvers<Reply>()
    this.id = keyOf(message.id)
    this.rawId = message.id
    this.asWritten = message.asWritten
    this.method = message.method
    this.isSubscription = message.method === SUBSCRIBE
    this.progressToken = message.progressToken === undefined ? undefined : keyOf(message.progressToken)
    this.reply = promise
    this.#answered = resolve
    this.#failed = reject
    this.#options = options
    this.#signal = signal
    this.#timer = setTimeout(() => this.#failAs(tooSlow(options, this.method), true, false), options.timeoutMs)
    signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** Bytes of its messages that wait for a slow reader. */
  queuedBytes(): number {
    return this.#queue?.bytes() ?? 0
  }

  /** Something that belongs to it and is not the response. */
  deliver(line: Buffer): void {
    if (this.#isOver) return
    // A subscription stays open as long as it likes once the server has taken it.
    if (this.isSubscription) clearTimeout(this.#timer)
    if (!this.#queue) {
      this.#queue = createQueue({ sizeOf: sizeOfEvent, onAbandon: () => this.#over(true) })
      this.#answered({ kind: 'events', events: this.#queue })
    } else if (this.#queue.bytes() > 0 && !this.#options.hasRoom(line.length)) {
      return this.#failAs(notRead(this.method), true, false)
    }
    this.#queue.push(toEvent(line))
  }

  /** The response; with its value, where that is known (see `Reply`). */
  finish(line: Buffer, value?: Fields): void {
    if (!this.#over(false)) return
    if (!this.#queue) return this.#answered(value ? { kind: 'message', bytes: line, value } : { kind: 'message', bytes: line })
    this.#queue.push(toEvent(line))
    this.#queue.end()
  }

  /** No response will come, yet that is no failure: a subscription the server ended. */
  end(): void {
    if (!this.#queue) return this.fail(noAnswer(this.#options, this.method))
    if (this.#over(false)) this.#queue.end()
  }

  fail(error: Error): void {
    this.#failAs(error, false, false)
  }

  #failAs(error: Error, atServer: boolean, dropItems: boolean): void {
    if (!this.#over(atServer)) return
    if (this.#queue) this.#queue.fail(error, dropItems)
    else this.#failed(error)
  }

  /** False when it was over before. */
  #over(atServer: boolean): boolean {
    if (this.#isOver) return false
    this.#isOver = true
    clearTimeout(this.#timer)
    this.#signal.removeEventListener('abort', this.#onAbort)
    this.#options.onOver(this, atServer)
    return true
  }
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

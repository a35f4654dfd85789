import { toAppError } from '../../lib/errors.ts'
import type { AppError } from '../../lib/errors.ts'
import type { Exchange, Receiver } from '../../lib/http-wire/exchange.ts'
import type { HeaderFields } from '../../lib/http-wire/response-head.ts'
import type { Listed } from '../../lib/roster.ts'
import { toFault } from './http-fault.ts'
import { chooseSink } from './http-sink.ts'
import type { Link, Sink } from './http-sink.ts'
import type { Reply } from './upstream.ts'

export interface AnswerOptions {
  /** The session it belongs to. */
  owner: object
  server: string
  /** `response` may be any answer to a request; `nothing` answers a notification; `events` is what GET asks for. */
  expect: Link['expect']
  whole: boolean
  batches: Link['batches']
  now: () => number
  onHead: ((status: number, fields: HeaderFields) => void) | undefined
  /** Called once, however it ended. */
  onOver: () => void
}

/** What an HTTP server answers, as it comes. What goes wrong in here ends the answer and is not seen by the HTTP client. */
export class Answer implements Receiver, Link, Listed {
  place = -1
  readonly owner: object
  readonly reply: Promise<Reply>
  readonly server: string
  readonly expect: Link['expect']
  readonly whole: boolean
  readonly batches: Link['batches']
  readonly #options: AnswerOptions
  readonly #reject: (error: AppError) => void
  readonly resolve: (reply: Reply) => void
  #exchange: Exchange | undefined
  /** Where the body goes, once the head was read. */
  #sink: Sink | undefined
  #isPaused = false
  #isOver = false
  #lastActivity = 0

  constructor(options: AnswerOptions) {
    const { promise, resolve, reject } = Promise.withResolvers<Reply>()
    this.reply = promise
    this.resolve = resolve
    this.#reject = reject
    this.#options = options
    this.owner = options.owner
    this.server = options.server
    this.expect = options.expect
    this.whole = options.whole
    this.batches = options.batches
  }

  /** Sends the request; when that cannot be done `reply` rejects. */
  start(send: (receiver: Receiver) => Exchange): void {
    try {
      this.#exchange = send(this)
    } catch (error) {
      this.onFault(error instanceof Error ? error : toAppError(error))
    }
  }

  /** Breaks it off; `reply` or the iteration under way rejects with `error`. */
  abort(error: AppError): void {
    if (!this.#over()) return
    this.#sink?.fail(error)
    this.#reject(error)
    this.#exchange?.abort()
  }

  /** Since when nothing came although it should have, by `now`; undefined while waiting is in order. */
  get quietSince(): number | undefined {
    return this.#sink?.isBounded && !this.#isPaused ? this.#lastActivity : undefined
  }

  onHead(status: number, fields: HeaderFields): void {
    this.#lastActivity = this.#options.now()
    try {
      this.#options.onHead?.(status, fields)
      this.#sink = chooseSink(this, status, fields)
    } catch (error) {
      this.abort(toAppError(error))
    }
  }

  onData(chunk: Buffer): void {
    this.#lastActivity = this.#options.now()
    try {
      this.#sink?.take(chunk)
    } catch (error) {
      this.abort(toAppError(error))
    }
  }

  onEnd(): void {
    if (!this.#over()) return
    try {
      this.#sink?.end()
    } catch (error) {
      this.#reject(toAppError(error))
    }
  }

  onFault(error: Error): void {
    this.abort(toFault(this.server, error))
  }

  stop(): void {
    if (this.#over()) this.#exchange?.abort()
  }

  pause(): void {
    this.#isPaused = true
    this.#exchange?.pause()
  }

  resume(): void {
    this.#isPaused = false
    this.#lastActivity = this.#options.now()
    this.#exchange?.resume()
  }

  giveBack(chunk: Uint8Array): void {
    this.#exchange?.giveBack(chunk)
  }

  replace(sink: Sink): void {
    this.#sink = sink
  }

  /** False when it was over before. */
  #over(): boolean {
    if (this.#isOver) return false
    this.#isOver = true
    this.#options.onOver()
    return true
  }
}

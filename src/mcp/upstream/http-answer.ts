import { AppError, toAppError } from '../../lib/errors.ts'
import type { Exchange, Receiver } from '../../lib/http-wire/exchange.ts'
import type { Pool } from '../../lib/http-wire/pool.ts'
import type { HeaderFields } from '../../lib/http-wire/response-head.ts'
import type { Listed } from '../../lib/roster.ts'
import type { StopSignal } from '../../lib/stopping.ts'
import { toFault } from './http-fault.ts'
import { chooseSink } from './http-sink.ts'
import type { Link, Sink } from './http-sink.ts'
import type { Reply } from './upstream.ts'

/** One request to an HTTP server. */
export interface HttpAsk {
  /** The session it belongs to, by which it can be broken off. */
  owner: object
  method: 'GET' | 'POST' | 'DELETE'
  /** Rendered when a connection takes the request. */
  head: () => string
  body?: Buffer
  /** `response` may be any answer to a request; `nothing` answers a notification; `events` is what GET asks for. */
  expect: Link['expect']
  whole?: boolean
  /** Whether several messages may come as one. */
  batches?: boolean
  onHead?: (status: number, fields: HeaderFields) => void
  /** Called when nobody wanted the answer any more, and it was not over. */
  onCancelled?: (() => void) | undefined
}

/** What all answers of a server have in common. */
export interface AnswerHost {
  server: string
  now: () => number
  /** Called once for each, however it ended. */
  onOver: (answer: Answer) => void
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
  readonly #ask: HttpAsk
  readonly #host: AnswerHost
  readonly #reject: (error: AppError) => void
  readonly resolve: (reply: Reply) => void
  readonly #signal: StopSignal | undefined
  readonly #onAbort = (): void => this.#cancel()
  #exchange: Exchange | undefined
  /** Where the body goes, once the head was read. */
  #sink: Sink | undefined
  #isPaused = false
  #isOver = false
  #lastActivity = 0

  /** @param signal breaks it off when it fires, which it has not yet. */
  constructor(ask: HttpAsk, host: AnswerHost, signal: StopSignal | undefined) {
    const { promise, resolve, reject } = Promise.withResolvers<Reply>()
    this.reply = promise
    this.resolve = resolve
    this.#reject = reject
    this.#ask = ask
    this.#host = host
    this.owner = ask.owner
    this.server = host.server
    this.expect = ask.expect
    this.whole = ask.whole ?? false
    this.batches = ask.batches ?? false
    this.#signal = signal
    signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** Sends the request; when that cannot be done `reply` rejects. */
  start(pool: Pool): void {
    const { method, body } = this.#ask
    try {
      this.#exchange = pool.send({ method, head: this.#ask.head(), body }, this)
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
    this.#lastActivity = this.#host.now()
    try {
      this.#ask.onHead?.(status, fields)
      this.#sink = chooseSink(this, status, fields)
    } catch (error) {
      this.abort(toAppError(error))
    }
  }

  onData(chunk: Buffer): void {
    this.#lastActivity = this.#host.now()
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
    this.#lastActivity = this.#host.now()
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
    this.#signal?.removeEventListener('abort', this.#onAbort)
    this.#host.onOver(this)
    return true
  }

  #cancel(): void {
    this.abort(new AppError('cancelled', 'the request was cancelled'))
    this.#ask.onCancelled?.()
  }
}

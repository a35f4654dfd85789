import type { Dispatcher } from 'undici'
import { AppError, toAppError } from '../../lib/errors.ts'
import { toFault } from './http-fault.ts'
import { chooseSink } from './http-sink.ts'
import type { Link, ResponseHeaders, Sink } from './http-sink.ts'
import type { Reply } from './upstream.ts'

export interface AnswerOptions {
  server: string
  /** `response` may be any answer to a request; `nothing` answers a notification; `events` is what GET asks for. */
  expect: Link['expect']
  whole: boolean
  now: () => number
  onHeaders: ((status: number, headers: ResponseHeaders) => void) | undefined
  /** Called once, however it ended. */
  onOver: () => void
}

/** What an HTTP server answers, as it comes. */
export interface Answer {
  readonly handler: Dispatcher.DispatchHandler
  readonly reply: Promise<Reply>
  /** Breaks it off; `reply` or the iteration under way rejects with `error`. */
  abort(error: AppError): void
  /** Since when nothing came although it should have, by `now`; undefined while waiting is in order. */
  readonly quietSince: number | undefined
}

export function createAnswer(options: AnswerOptions): Answer {
  const { server, expect, whole, now } = options
  const { promise, resolve, reject } = Promise.withResolvers<Reply>()
  const state: State = { controller: undefined, sink: undefined, brokenOff: undefined, isOver: false, lastActivity: now() }

  const over = (): boolean => {
    if (state.isOver) return false
    state.isOver = true
    options.onOver()
    return true
  }
  const breakOff = (error: AppError): void => {
    state.brokenOff = error
    state.controller?.abort(error)
  }
  const fail = (error: AppError): void => {
    if (!over()) return
    state.sink?.fail(error)
    reject(error)
    breakOff(error)
  }
  const link: Link = {
    server,
    expect,
    whole,
    resolve,
    stop() {
      if (over()) breakOff(new AppError('cancelled', 'the rest of the answer is not needed'))
    },
    pause: () => state.controller?.pause(),
    resume() {
      state.lastActivity = now()
      state.controller?.resume()
    },
    replace: (sink) => (state.sink = sink),
  }

  return {
    handler: createReceiver(options, state, link, { over, fail }),
    reply: promise,
    abort: fail,
    get quietSince() {
      return state.sink?.isBounded && !state.controller?.paused ? state.lastActivity : undefined
    },
  }
}

interface State {
  controller: Dispatcher.DispatchController | undefined
  /** Where the body goes, once the headers were read. */
  sink: Sink | undefined
  brokenOff: AppError | undefined
  isOver: boolean
  lastActivity: number
}

interface Ends {
  /** False when it was over before. */
  over: () => boolean
  fail: (error: AppError) => void
}

function createReceiver(options: AnswerOptions, state: State, link: Link, { over, fail }: Ends): Dispatcher.DispatchHandler {
  /** What is thrown into the HTTP client would reach nobody. */
  const guard = (step: () => void): void => {
    if (state.isOver) return
    state.lastActivity = options.now()
    try {
      step()
    } catch (error) {
      fail(toAppError(error))
    }
  }
  return {
    onRequestStart(controller) {
      state.controller = controller
      if (state.brokenOff) controller.abort(state.brokenOff)
    },
    onResponseStart(_, status, headers) {
      if (status < 200) return
      guard(() => {
        options.onHeaders?.(status, headers)
        state.sink = chooseSink(link, status, headers)
      })
    },
    onResponseData: (_, chunk) => guard(() => state.sink?.take(chunk)),
    onResponseEnd() {
      if (over()) state.sink?.end()
    },
    onResponseError: (_, error) => fail(toFault(options.server, error)),
  }
}

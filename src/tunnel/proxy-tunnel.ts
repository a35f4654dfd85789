import type { Duplex } from 'node:stream'
import { type AppError, toAppError } from '../lib/errors.ts'
import type { Clock } from './clock.ts'
import type { Exchange, ExchangeTarget } from './exchange.ts'
import { TunnelFault } from './fault.ts'
import { decodeAnswerHead, encodeRequestHead } from './head.ts'
import { Inbox } from './inbox.ts'
import { DEFAULT_LIMITS } from './limits.ts'
import type { TunnelLimits } from './limits.ts'
import { answerError, lostError } from './lost.ts'
import { Mux } from './mux.ts'
import { placeOf } from './place.ts'
import type { Stream, StreamUser } from './stream.ts'

export interface ProxyTunnelOptions {
  /** Who is at the other end, for messages: `the agent "build-7"`. */
  peer: string
  clock: Clock
  limits?: Partial<TunnelLimits>
  /** Answers an exchange of which nothing was answered yet; `error.details.carried_out` says whether it may be sent again. A plain MCP error without. */
  fail?: (exchange: Exchange, error: AppError) => void
  /** The agent itself, and no server behind it, answered that it does not take who brings this exchange (401). */
  onTurnedAway?: ((exchange: Exchange) => void) | undefined
  /** Of this proxy; agents that have tunnels to several want to know it. */
  proxyId?: string | undefined
  /** The agent asked for no more requests: it is shutting down. */
  onDraining?: () => void
  /** The first stream's number, for tests. */
  firstId?: number
}

/** The Proxy Service's end of a tunnel. */
export interface ProxyTunnel {
  /** Sends an exchange to the agent; never throws. */
  target: ExchangeTarget
  /** Exchanges under way. */
  load(): number
  /** Whether it takes exchanges: not once either end is shutting down, or is full. */
  isTaking(): boolean
  /** Settles when the tunnel is gone: with undefined when it was drained or closed without an error. Never rejects. */
  closed: Promise<AppError | undefined>
  /** Asks the agent for another tunnel; this one ends with its last exchange. */
  drain(): void
  /** Ends the exchanges under way for which there is a reason: with that as the answer, or broken off where the answer has begun. */
  cut(reasonFor: (exchange: Exchange) => AppError | undefined): void
  /** Ends it now, and every exchange under way. */
  close(why?: string): void
}

/** Uses an accepted connection of an agent, whose identity the caller has verified. */
export function openTunnel(socket: Duplex, options: ProxyTunnelOptions): ProxyTunnel {
  const { peer, clock, onDraining, onTurnedAway, proxyId, fail = answerError } = options
  const mux = new Mux(socket, {
    role: 'opener',
    clock,
    limits: { ...DEFAULT_LIMITS, ...options.limits },
    onGoaway: () => onDraining?.(),
    ...(proxyId !== undefined && { features: [placeOf(proxyId)] }),
    ...(options.firstId !== undefined && { firstId: options.firstId }),
  })
  const underWay = new Set<Carried>()
  return {
    target: (exchange) => {
      const obstacle = mux.obstacle
      if (obstacle) return fail(exchange, lostError(obstacle, peer, false))
      try {
        forward(mux, exchange, { peer, fail, onTurnedAway, underWay })
      } catch (thrown) {
        fail(exchange, toAppError(thrown))
      }
    },
    load: () => mux.load,
    isTaking: () => mux.obstacle === undefined,
    closed: mux.closed.then((fault) => fault && lostError(fault, peer, true)),
    drain: () => mux.leave('the proxy is shutting down'),
    cut: (reasonFor) => {
      for (const carried of underWay) {
        const reason = reasonFor(carried.exchange)
        if (reason) carried.cut(reason)
      }
    },
    close: (why) => mux.close(why === undefined ? undefined : new TunnelFault('closing', why)),
  }
}

type Surroundings = Required<Pick<ProxyTunnelOptions, 'peer' | 'fail'>> &
  Pick<ProxyTunnelOptions, 'onTurnedAway'> & { underWay: Set<Carried> }

function forward(mux: Mux, exchange: Exchange, surroundings: Surroundings): void {
  const { signal, body } = exchange
  if (signal.aborted) return
  const head = encodeRequestHead(exchange)
  const carried = new Carried(exchange, surroundings)
  const stream = mux.open(head, carried, body.length === 0)
  carried.begin(stream, signal)
  if (body.length > 0) stream.end(body)
}

/** What belongs to one connection alone, and an agent has no say in (RFC 9110 §7.6.1). */
const HOP_BY_HOP = ['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade']

/**
 * All that a client of MCP needs to hear. The rest would count as the proxy's own word: its cookies, its pages, where to be redirected, who issues
 * tokens for it.
 */
const PASSED_ON = /^(?:content-type|content-length|cache-control|x-accel-buffering|allow|retry-after|(?:mcp|sallyport)-.+)$/

function passedOn(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => PASSED_ON.test(name)))
}

/** An exchange on its way: gives the stream's answer to the client, and the client's leaving to the stream. */
class Carried implements StreamUser {
  readonly exchange: Exchange
  readonly #surroundings: Surroundings
  #stream: Stream | undefined
  #signal: AbortSignal | undefined
  #inbox: Inbox | undefined
  /** Of the body, when the answer says how long it is. */
  #bytesLeft = Number.POSITIVE_INFINITY
  #isCounted = false
  readonly #onGone = (): void => this.#leave()

  constructor(exchange: Exchange, surroundings: Surroundings) {
    this.exchange = exchange
    this.#surroundings = surroundings
  }

  begin(stream: Stream, signal: AbortSignal): void {
    this.#stream = stream
    this.#signal = signal
    this.#surroundings.underWay.add(this)
    signal.addEventListener('abort', this.#onGone)
  }

  onAccept(payload: Buffer): void {
    const stream = this.#stream
    if (!stream) return
    try {
      const { status, headers } = decodeAnswerHead(payload)
      if (HOP_BY_HOP.some((name) => Object.hasOwn(headers, name))) throw new TunnelFault('protocol', 'a header is of one connection only')
      this.#expect(status, headers['content-length'])
      if (status === 401 && headers['sallyport-error-origin'] === 'gateway') this.#surroundings.onTurnedAway?.(this.exchange)
      this.exchange.answer.head(status, passedOn(headers))
    } catch (thrown) {
      return this.#break('the answer has a malformed head', thrown)
    }
    if (this.#isCounted) stream.expect(this.#bytesLeft)
    this.#inbox = new Inbox(stream, this.exchange.answer)
  }

  onData(part: Buffer, isEnd: boolean): void {
    this.#bytesLeft -= part.length
    if (this.#bytesLeft < 0 || (isEnd && this.#isCounted && this.#bytesLeft > 0)) {
      this.#break('the answer is not as long as it says', undefined)
      return
    }
    if (isEnd) this.#unwatch()
    this.#inbox?.push(part, isEnd)
  }

  onReset(fault: TunnelFault): void {
    this.#unwatch()
    this.#inbox?.close()
    // The agent breaks an answer off in the way it does where no tunnel is between.
    if (this.#inbox || fault.code === 'aborted') this.exchange.answer.abort(fault.message)
    else this.#fail(lostError(fault, this.#surroundings.peer, true))
  }

  /** The agent hears that the client went away. */
  cut(error: AppError): void {
    this.#leave()
    if (this.#inbox) this.exchange.answer.abort(error.message)
    else this.#fail(error)
  }

  /** Whoever renders errors may fail too, which must not reach the other exchanges of a tunnel that is going down. */
  #fail(error: AppError): void {
    try {
      this.#surroundings.fail(this.exchange, error)
    } catch {
      this.exchange.answer.abort(error.message)
    }
  }

  /** What a body of the wrong length would do to a client's connection, it would take for the next answer. */
  #expect(status: number, length: string | undefined): void {
    const isBodiless = status === 204 || status === 304
    if (isBodiless) this.#bytesLeft = 0
    else if (length !== undefined) {
      if (!/^\d{1,15}$/.test(length)) throw new TunnelFault('protocol', 'a content-length is no number')
      this.#bytesLeft = this.exchange.method === 'HEAD' ? 0 : Number(length)
    }
    this.#isCounted = Number.isFinite(this.#bytesLeft)
  }

  #break(message: string, cause: unknown): void {
    this.#stream?.reset('protocol', message)
    this.onReset(new TunnelFault('protocol', message, cause))
  }

  #leave(): void {
    this.#unwatch()
    this.#inbox?.close()
    this.#stream?.reset('cancelled', 'the client went away')
  }

  #unwatch(): void {
    this.#surroundings.underWay.delete(this)
    this.#signal?.removeEventListener('abort', this.#onGone)
  }
}

import type { Duplex } from 'node:stream'
import { AppError } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import type { Answer } from '../lib/http-exchange.ts'
import type { Clock } from './clock.ts'
import type { Exchange, ExchangeTarget } from './exchange.ts'
import { TunnelFault } from './fault.ts'
import { decodeRequestHead, encodeAnswerHead } from './head.ts'
import type { RequestHead } from './head.ts'
import { DEFAULT_LIMITS } from './limits.ts'
import type { TunnelLimits } from './limits.ts'
import { Mux } from './mux.ts'
import { findPlace } from './place.ts'
import type { Stream, StreamUser } from './stream.ts'

export interface AgentTunnelOptions {
  clock: Clock
  limits?: Partial<TunnelLimits>
  log: Logger
}

/** An agent's end of a tunnel. */
export interface AgentTunnel {
  /** Settles when the tunnel is gone: with undefined when it was drained or closed without an error. Never rejects. */
  closed: Promise<AppError | undefined>
  /** Settles with the place (see `placeOf`) of the proxy at the other end; with undefined when it does not say, or the tunnel is gone before. */
  place: Promise<string | undefined>
  /** Settles when the proxy has asked for another tunnel, or this one is gone. */
  drained: Promise<void>
  /** Whether the proxy opens no more streams here. */
  isDraining(): boolean
  isOpen(): boolean
  /** Exchanges under way. */
  load(): number
  /** Takes no more exchanges; the tunnel ends with the last one. */
  drain(): void
  /** Ends it now, and every exchange under way. */
  close(): void
}

/** Serves the exchanges that come over a connection to a proxy, whose certificate the caller has verified. */
export function serveTunnel(socket: Duplex, target: ExchangeTarget, options: AgentTunnelOptions): AgentTunnel {
  const limits = { ...DEFAULT_LIMITS, ...options.limits }
  const drained = Promise.withResolvers<void>()
  const place = Promise.withResolvers<string | undefined>()
  const bodies = new Bodies(limits)
  let isDraining = false
  const goAway = (): void => {
    isDraining = true
    drained.resolve()
  }
  const serve = (exchange: Exchange, stream: Stream): void => {
    try {
      target(exchange)
    } catch (thrown) {
      options.log.error('exchange failed', { error: thrown })
      stream.reset('internal', 'the agent failed')
    }
  }
  const mux = new Mux(socket, {
    role: 'acceptor',
    clock: options.clock,
    limits,
    onOpen: (stream, payload) => new Served(stream, decodeRequestHead(payload), bodies, serve),
    onGoaway: goAway,
    onHello: (features) => place.resolve(findPlace(features)),
  })
  return {
    closed: mux.closed.then((fault) => {
      goAway()
      place.resolve(undefined)
      return fault && new AppError('unavailable', `the tunnel to the proxy is gone: ${fault.message}`, { cause: fault })
    }),
    place: place.promise,
    drained: drained.promise,
    isDraining: () => isDraining,
    isOpen: () => mux.isOpen,
    load: () => mux.load,
    drain: () => mux.leave('the agent is shutting down'),
    close: () => mux.close(),
  }
}

/** What the bodies of requests may take that have not come whole. */
class Bodies {
  readonly #limits: TunnelLimits
  #bytes = 0

  constructor(limits: TunnelLimits) {
    this.#limits = limits
  }

  /** @throws TunnelFault refused */
  reserve(bytes: number): void {
    if (bytes > this.#limits.maxBodyBytes) throw new TunnelFault('refused', `a request may have ${this.#limits.maxBodyBytes} bytes`)
    if (this.#bytes + bytes > this.#limits.maxPendingBodyBytes) throw new TunnelFault('refused', 'too many large requests at a time')
    this.#bytes += bytes
  }

  release(bytes: number): void {
    this.#bytes -= bytes
  }
}

const NOTHING = Buffer.alloc(0)

/** One exchange at the agent: collects the body, hands the whole to the target, and sends what it answers. */
class Served implements StreamUser {
  readonly #stream: Stream
  readonly #head: RequestHead
  readonly #bodies: Bodies
  readonly #serve: (exchange: Exchange, stream: Stream) => void
  #body: Buffer = NOTHING
  #bodyBytes = 0
  #isReserved = true
  #gone: AbortController | undefined
  #isGone = false

  constructor(stream: Stream, head: RequestHead, bodies: Bodies, serve: (exchange: Exchange, stream: Stream) => void) {
    bodies.reserve(head.bodyBytes)
    this.#stream = stream
    this.#head = head
    this.#bodies = bodies
    this.#serve = serve
  }

  onAccept(): void {
    // Streams are opened by the proxy only.
  }

  onData(part: Buffer, isEnd: boolean): void {
    const { bodyBytes } = this.#head
    const received = this.#bodyBytes + part.length
    if (received > bodyBytes || (isEnd && received < bodyBytes)) {
      this.#release()
      return this.#stream.reset('protocol', 'the request is not as long as it says')
    }
    if (part.length === bodyBytes) this.#body = part
    else {
      if (this.#bodyBytes === 0) this.#body = Buffer.allocUnsafe(bodyBytes)
      part.copy(this.#body, this.#bodyBytes)
    }
    this.#bodyBytes = received
    this.#stream.consumed(part.length)
    if (!isEnd) return
    this.#release()
    this.#serve(this.#exchange(), this.#stream)
  }

  onReset(): void {
    this.#release()
    this.#isGone = true
    this.#gone?.abort()
  }

  #release(): void {
    if (!this.#isReserved) return
    this.#isReserved = false
    this.#bodies.release(this.#head.bodyBytes)
  }

  #exchange(): Exchange {
    return new TunnelledExchange(this.#head, this.#body, answerOver(this.#stream), () => this.#signal())
  }

  #signal(): AbortSignal {
    this.#gone ??= new AbortController()
    if (this.#isGone) this.#gone.abort()
    return this.#gone.signal
  }
}

/**
 * A class, since a literal with a `get signal()` makes a hidden class at each evaluation, which lives in the old part of the heap and keeps the
 * exchange there until the next full collection.
 */
class TunnelledExchange implements Exchange {
  readonly method: string
  readonly path: string
  readonly server: string
  readonly assertion: string
  readonly remoteAddress: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
  readonly answer: Answer
  readonly #signalOf: () => AbortSignal

  constructor(head: Omit<Exchange, 'body' | 'answer' | 'signal'>, body: Buffer, answer: Answer, signalOf: () => AbortSignal) {
    this.method = head.method
    this.path = head.path
    this.server = head.server
    this.assertion = head.assertion
    this.remoteAddress = head.remoteAddress
    this.headers = head.headers
    this.body = body
    this.answer = answer
    this.#signalOf = signalOf
  }

  /** Most exchanges are answered without anybody asking for it. */
  get signal(): AbortSignal {
    return this.#signalOf()
  }
}

/** The answering side over a stream. What is written after the client went away does nothing. */
function answerOver(stream: Stream): Answer {
  let isBegun = false
  const mustBeBegun = (): void => {
    if (!isBegun) stream.reset('internal', 'the agent answered without a head')
  }
  return {
    head: (status, headers) => {
      if (isBegun) return
      const head = encodeAnswerHead(status, headers)
      isBegun = true
      stream.accept(head)
    },
    write: (chunk) => {
      mustBeBegun()
      return stream.write(chunk)
    },
    drained: () => stream.drained(),
    end: (chunk) => {
      mustBeBegun()
      stream.end(chunk)
    },
    abort: (reason) => stream.reset('aborted', reason),
  }
}

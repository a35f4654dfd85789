import type { Socket } from 'node:net'
import { type BodyRoom, HeldBody, noRoom } from '../body-room.ts'
import { type ByteBuffer, createByteBuffer } from '../byte-buffer.ts'
import type { AppError } from '../errors.ts'
import type { Listed } from '../roster.ts'
import { MAX_PLAIN_HEAD_BYTES, parsePlainRequest, type PlainRequest } from './plain-request.ts'
import { type AnswerLink, WireAnswer } from './wire-answer.ts'
import { WireExchange } from './wire-exchange.ts'

/** What becomes of requests with a certain head. */
export interface Route {
  /** Whether another one would not be made for the same head now. */
  isCurrent(): boolean
  /** What is left of the headers in exchanges. */
  headers: PlainRequest['headers']
  maxBodyBytes: number
  /** Asked before a body is waited for: settles when it may come, or with why nothing of it is to be kept. Never rejects. */
  admit(remoteAddress: string): Promise<AppError | undefined> | undefined
  /** Who sends a large body, once it is admitted: of all senders each has a share of the room for such. */
  sender(): string
  /** Answers; never throws. */
  serve(exchange: WireExchange): void
  /** The same for a request whose body was not kept. */
  refuse(exchange: WireExchange, error: AppError): void
}

/** The server of a connection. */
export interface ConnectionHost {
  /** Milliseconds, as they were at the last sweep. */
  readonly clockMs: number
  readonly room: BodyRoom
  /** Undefined for what somebody else answers. */
  route(head: PlainRequest, socket: Socket): Route | undefined
  standing(isKept: boolean): string
  line(name: string, value: string): string
  flushLater(answer: WireAnswer): void
  /** Gives the connection away, after which it does nothing any more. */
  handOver(connection: ServerConnection, bytes: Buffer): void
  forget(connection: ServerConnection): void
}

/** The head that was read last: most clients send the same one over and over. */
interface Known {
  bytes: Buffer
  head: PlainRequest
  route: Route
}

/** A request whose body is still to come, in part. */
interface Reading {
  known: Known
  missing: number
  body: ByteBuffer
  /** Why the body is not kept. */
  refusal?: AppError
}

/** The limits of `createProxyServer`'s own: see there. */
const IDLE_MS = 75_000
const BODY_MS = 60_000
const SILENCE_MS = 15 * 60_000
/** A client that does not even take the end; one that takes it slowly, or sends on meanwhile, has `SILENCE_MS`. */
const FAREWELL_MS = 60_000
/** Of requests that a client sends before it has the answer to the one before. */
const MAX_EARLY_BYTES = 64 * 1024
/** A piece costs some hundred bytes beside its own. */
const MAX_EARLY_PIECES = 256
const HEAD_END = '\r\n\r\n'
const TIMED_OUT = 'HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\r\n'

/** One connection of a client: one request after the other, in the order in which they come. */
export class ServerConnection implements AnswerLink, Listed {
  place = -1
  readonly socket: Socket
  readonly #host: ConnectionHost
  readonly #remoteAddress: string
  #phase: 'idle' | 'body' | 'answering' | 'leaving' | 'gone' = 'idle'
  /** Since when it is idle, waits for a body, is silent, or takes its leave. */
  #since: number
  #known: Known | undefined
  #reading: Reading | undefined
  /** For the request under way. */
  readonly #held: HeldBody
  #answer: WireAnswer | undefined
  /** What came while an answer was due. */
  #early: Buffer[] | undefined
  #earlyBytes = 0
  readonly #onData = (bytes: Buffer): void => this.#take(bytes)
  /** The client sends no more. Like http.Server's, this one does not answer whoever hangs up in the middle. */
  readonly #onEnd = (): void => this.#end()
  readonly #onClose = (): void => this.#leave()
  /** The client took what was written. */
  readonly #onDrain = (): void => this.#next()

  constructor(socket: Socket, host: ConnectionHost) {
    this.socket = socket
    this.#host = host
    this.#held = new HeldBody(host.room)
    this.#remoteAddress = socket.remoteAddress ?? ''
    this.#since = host.clockMs
    socket.on('data', this.#onData)
    socket.on('end', this.#onEnd)
    socket.on('close', this.#onClose)
  }

  standing(isKept: boolean): string {
    return this.#host.standing(isKept)
  }

  line(name: string, value: string): string {
    return this.#host.line(name, value)
  }

  sends(): void {
    this.#since = this.#host.clockMs
  }

  flushLater(answer: WireAnswer): void {
    this.#host.flushLater(answer)
  }

  answered(isKept: boolean): void {
    this.#answer = undefined
    this.#held.letGo()
    if (this.#phase !== 'answering') return
    if (!isKept) return this.#end()
    this.#enter('idle')
    // Not from within whoever answers: there may be thousands of short requests here.
    if (this.#early) process.nextTick(() => this.#next())
  }

  /** Ends what takes too long, by the clock of the host. */
  sweep(): void {
    const elapsed = this.#host.clockMs - this.#since
    // A stream may last for hours, and there may be 10,000 of them: what would be known of the next request is let go.
    if (this.#phase === 'answering') this.#known = undefined
    if (this.#phase === 'idle' && elapsed > IDLE_MS) this.#end()
    else if ((this.#phase === 'answering' || this.#phase === 'leaving') && elapsed > SILENCE_MS) this.socket.destroy()
    else if (this.#phase === 'body' && elapsed > BODY_MS) {
      this.socket.write(TIMED_OUT)
      this.#end()
    }
  }

  closeIfIdle(): void {
    if (this.#phase === 'idle' && !this.#early) this.#end()
  }

  /** It is somebody else's from now on. */
  release(): void {
    this.#phase = 'gone'
    this.#deafen()
    this.socket.off('close', this.#onClose)
  }

  /** What still comes is for nobody here. */
  #deafen(): void {
    this.#known = undefined
    this.#reading = undefined
    this.#held.letGo()
    this.socket.off('data', this.#onData)
    this.socket.off('end', this.#onEnd)
    this.socket.off('drain', this.#onDrain)
  }

  #enter(phase: 'idle' | 'body' | 'answering' | 'leaving'): void {
    this.#phase = phase
    this.#since = this.#host.clockMs
  }

  #take(bytes: Buffer): void {
    if (this.#phase === 'body') return this.#collect(bytes)
    const isNext = this.#phase === 'idle' && !this.#early
    if (isNext && !this.socket.writableNeedDrain) return this.#begin(bytes)
    if (this.#phase !== 'gone') this.#keep(bytes)
    if (isNext) this.#next()
  }

  /** The beginning of a request, and possibly more. */
  #begin(bytes: Buffer): void {
    const known = this.#recognise(bytes)
    if (!known) return this.#host.handOver(this, bytes)
    const bodyAt = known.bytes.length
    const end = bodyAt + known.head.bodyBytes
    if (bytes.length >= end) {
      if (bytes.length > end) this.#keep(bytes.subarray(end))
      return this.#serve(known, bytes.subarray(bodyAt, end))
    }
    const reading: Reading = { known, missing: end - bytes.length, body: createByteBuffer(known.head.bodyBytes, 'a request') }
    this.#reading = reading
    this.#enter('body')
    reading.body.adopt(bytes.subarray(bodyAt))
    const admitted = known.route.admit(this.#remoteAddress)
    if (!admitted) return
    this.socket.pause()
    void admitted.then((error) => {
      if (error) drop(reading, error)
      this.socket.resume()
    })
  }

  /** The head at the beginning of `bytes`; undefined when it is not whole, not plain, or of a request that somebody else answers. */
  #recognise(bytes: Buffer): Known | undefined {
    const last = this.#known
    // To compare is a tenth of the work.
    if (last && last.bytes.length <= bytes.length && last.bytes.compare(bytes, 0, last.bytes.length) === 0) return last
    const end = bytes.indexOf(HEAD_END, 0, 'latin1')
    if (end < 0 || end > MAX_PLAIN_HEAD_BYTES) return undefined
    const head = parsePlainRequest(bytes.toString('latin1', 0, end + 2))
    const route = head && this.#host.route(head, this.socket)
    if (!route || head.bodyBytes > route.maxBodyBytes) return undefined
    // Not in a pool, of which it would keep 8 KB.
    const copy = Buffer.allocUnsafeSlow(end + HEAD_END.length)
    bytes.copy(copy)
    this.#known = { bytes: copy, head, route }
    return this.#known
  }

  #collect(bytes: Buffer): void {
    const reading = this.#reading
    if (!reading) return
    const { known, missing, body } = reading
    const part = bytes.length > missing ? bytes.subarray(0, missing) : bytes
    reading.missing -= part.length
    if (!reading.refusal && !this.#held.hold(body.length, part.length, () => known.route.sender())) drop(reading, noRoom())
    const { refusal } = reading
    if (!refusal) body.adopt(part)
    if (reading.missing > 0) return
    this.#reading = undefined
    if (bytes.length > missing) this.#keep(bytes.subarray(missing))
    if (refusal) this.#give(known, body.take(), (exchange) => known.route.refuse(exchange, refusal))
    else this.#serve(known, body.take())
  }

  #serve(known: Known, body: Buffer): void {
    const { head } = known
    // A client may take a minute to send a body, and keep a connection for a day.
    const route = known.route.isCurrent() ? known.route : this.#host.route(head, this.socket)
    if (!route || head.bodyBytes > route.maxBodyBytes)
      return this.#host.handOver(this, Buffer.concat([known.bytes, body, ...(this.#early ?? [])]))
    known.route = route
    this.#give(known, body, (exchange) => route.serve(exchange))
  }

  #give({ head, route }: Known, body: Buffer, serve: Route['serve']): void {
    this.#enter('answering')
    this.#answer = new WireAnswer(this, head.isKept)
    serve(new WireExchange(head, route.headers, body, this.#remoteAddress, this.#answer))
  }

  #keep(bytes: Buffer): void {
    this.#early ??= []
    this.#early.push(bytes)
    this.#earlyBytes += bytes.length
    if (this.#hasTooMuch(this.#early)) this.socket.pause()
  }

  #hasTooMuch(early: readonly Buffer[]): boolean {
    return this.#earlyBytes > MAX_EARLY_BYTES || early.length > MAX_EARLY_PIECES
  }

  #next(): void {
    const early = this.#early
    if (this.#phase !== 'idle' || !early) return
    // Who takes no answers gets no more of them: all that are not taken are in memory.
    if (this.socket.writableNeedDrain) return void this.socket.once('drain', this.#onDrain)
    const [first] = early
    const bytes = early.length === 1 && first ? first : Buffer.concat(early)
    const wasPaused = this.#hasTooMuch(early)
    this.#early = undefined
    this.#earlyBytes = 0
    if (wasPaused) this.socket.resume()
    this.#begin(bytes)
  }

  /** Once all that was written has gone out. */
  #end(): void {
    if (this.#phase === 'gone' || this.#phase === 'leaving') return
    this.#enter('leaving')
    this.#deafen()
    this.#early = undefined
    this.#answer?.leave()
    this.#answer = undefined
    this.socket.setTimeout(FAREWELL_MS, () => this.socket.destroy())
    this.socket.destroySoon()
  }

  #leave(): void {
    if (this.#phase === 'gone') return
    this.release()
    this.#answer?.leave()
    this.#answer = undefined
    this.#host.forget(this)
  }
}

function drop(reading: Reading, error: AppError): void {
  reading.refusal = error
  reading.body.take()
}

import type { Socket } from 'node:net'
import type { Dialler } from './dial.ts'
import type { Exchange, Receiver, WireRequest } from './exchange.ts'
import { endHead } from './request-head.ts'
import type { ReadMemory } from './read-memory.ts'
import type { ResponseHead } from './response-head.ts'
import { createResponseParser } from './response-parser.ts'
import type { ResponseParser } from './response-parser.ts'
import { WireFault } from './wire-fault.ts'

export interface ConnectionOptions {
  dialler: Dialler
  memory: ReadMemory
  /** For the TCP connection and, with TLS, its handshake. */
  connectTimeoutMs: number
  /** From the request written to the whole head of its answer. */
  headersTimeoutMs: number
  /** How long it may be idle when the server does not say. */
  idleMs: number
  now: () => number
  onIdle: (connection: Connection) => void
  onGone: (connection: Connection) => void
}

/** Up to here head and body go out as one buffer. */
const ONE_BUFFER = 64 * 1024
/** Less of an answer is copied out of the memory that was read into, more is handed on with it. */
const COPIED_BYTES = 32 * 1024
/** A server counts from its last byte, which was on its way for a while. */
const IDLE_MARGIN_MS = 1000
const MAX_IDLE_MS = 60_000

/** One connection of HTTP/1.1, one exchange at a time, without pipelining. It is made for an exchange, which `send` begins. */
export class Connection {
  readonly #options: ConnectionOptions
  readonly #socket: Socket
  readonly #parser: ResponseParser
  #phase: 'connecting' | 'waiting' | 'answering' | 'idle' | 'gone' = 'connecting'
  /** Since when it is in this phase. */
  #since: number
  /** Its identity tells one exchange from the next on the same connection. */
  #current: Asked | undefined
  #isPaused = false
  /** A piece of what was read last was handed on with its memory. */
  #isLent = false
  /** As long as this it may be idle after the answer that is being read. */
  #idleMs = 0

  constructor(options: ConnectionOptions) {
    this.#options = options
    this.#since = options.now()
    this.#parser = createResponseParser({
      onHead: (head) => this.#takeHead(head),
      onData: (chunk) => this.#current && this.#handOn(chunk, this.#current),
      onEnd: (isClean) => this.#takeEnd(isClean),
    })
    const { socket, openEvent } = options.dialler.dial((bytes) => this.#take(bytes))
    this.#socket = socket
    socket.once(openEvent, () => this.#begin())
    socket.on('end', () => this.#finish())
    socket.on('error', (error) => this.#fail(error))
    socket.on('close', () => this.#fail(new WireFault('WIRE_CLOSED', 'the connection was closed')))
  }

  /**
   * Only while it is idle or was just made. Undefined when it turns out to be broken before any byte of the request was sent,
   * so that the request can go elsewhere without being sent twice.
   */
  send(request: WireRequest, receiver: Receiver): Exchange | undefined {
    const asked = new Asked(this, request, receiver)
    this.#current = asked
    if (this.#phase === 'idle' && this.#write(request)) {
      this.#leave()
      return undefined
    }
    return asked
  }

  /** Gives up what was asked; like the next two, it does nothing when that is over. */
  abort(asked: Asked): void {
    if (this.#current === asked) this.#leave()
  }

  pause(asked: Asked): void {
    if (this.#current !== asked) return
    this.#isPaused = true
    this.#socket.pause()
  }

  resume(asked: Asked): void {
    if (this.#current === asked) this.#resume()
  }

  giveBack(chunk: Uint8Array): void {
    this.#options.memory.giveBack(chunk)
  }

  /** Whether the idle connection can be expected to live. */
  isUsable(): boolean {
    const { destroyed, errored, readableEnded, writable } = this.#socket
    return this.#phase === 'idle' && !destroyed && !errored && !readableEnded && writable && !this.#isTooOld()
  }

  /** Ends what takes too long, by the clock. */
  sweep(): void {
    const { connectTimeoutMs, headersTimeoutMs, now } = this.#options
    const elapsed = now() - this.#since
    if (this.#phase === 'connecting' && elapsed > connectTimeoutMs)
      this.#fail(new WireFault('WIRE_CONNECT_TIMEOUT', 'could not be connected to in time'))
    else if (this.#phase === 'waiting' && elapsed > headersTimeoutMs)
      this.#fail(new WireFault('WIRE_HEADERS_TIMEOUT', 'did not begin to answer in time'))
    else if (this.#phase === 'idle' && this.#isTooOld()) this.#leave()
  }

  /** Ends it at once, and an exchange under way with `fault`. */
  close(fault: WireFault): void {
    this.#fail(fault)
  }

  #isTooOld(): boolean {
    return this.#options.now() - this.#since >= this.#idleMs
  }

  #enter(phase: 'waiting' | 'idle'): void {
    this.#phase = phase
    this.#since = this.#options.now()
  }

  /** The connection was made for an exchange, which may have been given up. */
  #begin(): void {
    const error = this.#current && this.#write(this.#current.request)
    if (error) this.#fail(error)
  }

  /** Gives the error when none of it was sent. */
  #write({ head: begun, body, method }: WireRequest): Error | undefined {
    const head = endHead(begun, body?.length)
    this.#enter('waiting')
    this.#parser.begin(method === 'HEAD')
    if (body && head.length + body.length > ONE_BUFFER) {
      this.#socket.cork()
      this.#socket.write(head, 'latin1')
      this.#socket.write(body)
      this.#socket.uncork()
    } else this.#socket.write(joinHead(head, body))
    // An error right away is that of the one system call, which took nothing. With TLS a part may have gone out before it.
    return this.#options.dialler.isTls ? undefined : (this.#socket.errored ?? undefined)
  }

  /** Tells whether somebody keeps them. */
  #take(bytes: Buffer): boolean {
    this.#isLent = false
    try {
      // Bytes nobody asked for.
      if (!this.#current) this.#leave()
      else this.#parser.push(bytes)
    } catch (error) {
      this.#fail(faultOf(error))
    }
    return this.#isLent
  }

  /** What the receiver keeps must not change with the next read. */
  #handOn(chunk: Buffer, { receiver }: Asked): void {
    const isLarge = chunk.length > COPIED_BYTES
    this.#isLent ||= isLarge
    receiver.onData(isLarge ? chunk : Buffer.from(chunk))
  }

  /** The server sends no more. */
  #finish(): void {
    if (!this.#current) return this.#leave()
    try {
      this.#parser.finish()
    } catch (error) {
      this.#fail(faultOf(error))
    }
  }

  #takeHead({ status, fields, keepAliveMs }: ResponseHead): void {
    this.#phase = 'answering'
    this.#idleMs = keepAliveMs === undefined ? this.#options.idleMs : idleAfter(keepAliveMs)
    this.#current?.receiver.onHead(status, fields)
  }

  #takeEnd(isClean: boolean): void {
    const ended = this.#current
    if (!ended) return
    this.#current = undefined
    const { writableLength, readableEnded, destroyed } = this.#socket
    // An answer before its request was sent leaves the rest of that on the way.
    if (isClean && this.#idleMs > 0 && writableLength === 0 && !readableEnded && !destroyed) {
      this.#enter('idle')
      this.#resume()
      this.#options.onIdle(this)
    } else this.#leave()
    ended.receiver.onEnd()
  }

  #resume(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    this.#socket.resume()
  }

  #fail(error: Error): void {
    const failed = this.#current
    this.#leave()
    failed?.receiver.onFault(error)
  }

  #leave(): void {
    this.#current = undefined
    if (this.#phase === 'gone') return
    this.#phase = 'gone'
    this.#socket.destroy()
    this.#options.onGone(this)
  }
}

/** One exchange on a connection. */
class Asked implements Exchange {
  readonly request: WireRequest
  readonly receiver: Receiver
  readonly #connection: Connection

  constructor(connection: Connection, request: WireRequest, receiver: Receiver) {
    this.#connection = connection
    this.request = request
    this.receiver = receiver
  }

  abort(): void {
    this.#connection.abort(this)
  }

  pause(): void {
    this.#connection.pause(this)
  }

  resume(): void {
    this.#connection.resume(this)
  }

  giveBack(chunk: Uint8Array): void {
    this.#connection.giveBack(chunk)
  }
}

function faultOf(error: unknown): Error {
  return error instanceof Error ? error : new Error('the receiver of an answer failed', { cause: error })
}

function joinHead(head: string, body: Buffer | undefined): Buffer {
  if (!body) return Buffer.from(head, 'latin1')
  const bytes = Buffer.allocUnsafe(head.length + body.length)
  bytes.write(head, 'latin1')
  bytes.set(body, head.length)
  return bytes
}

function idleAfter(keepAliveMs: number): number {
  return Math.min(MAX_IDLE_MS, Math.max(keepAliveMs - IDLE_MARGIN_MS, keepAliveMs / 2))
}

import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { Answer } from '../http-exchange.ts'
import { renderField } from './request-head.ts'

/** The connection that an answer goes over. */
export interface AnswerLink {
  readonly socket: Socket
  /** What every head of an answer has, as lines of it; they differ when the connection ends after the answer. */
  standing(isKept: boolean): string
  /** One line of a head, as `renderField` has it. */
  line(name: string, value: string): string
  /** A piece of an answer that comes in pieces goes out. */
  sends(): void
  /** Calls `flush` at the end of this turn of the loop. */
  flushLater(answer: WireAnswer): void
  /** Its last byte was handed to the socket. */
  answered(isKept: boolean): void
}

/** Up to here a copy is cheaper than a second buffer for the kernel. */
const ONE_WRITE_BYTES = 16 * 1024
/** Of small pieces, in one turn of the loop. */
const MAX_UNSENT_BYTES = 64 * 1024
/** A client that takes nothing for so long holds memory and an MCP request of others: it is cut off. */
const STALLED_MS = 60_000

/** The answer to one request. Writes after the client went away do nothing. */
export class WireAnswer implements Answer {
  readonly #link: AnswerLink
  #isKept: boolean
  /** The head while nothing of it was sent, without its empty line. */
  #head = ''
  /** What is to be sent at the end of this turn: the last small piece of an answer leaves with its end. Latin1 gives every byte back as it was. */
  #unsent = ''
  #body: 'unknown' | 'counted' | 'chunked' = 'unknown'
  #state: 'empty' | 'begun' | 'sending' | 'over' = 'empty'
  #gone: AbortController | undefined
  #hasLeft = false

  constructor(link: AnswerLink, isKept: boolean) {
    this.#link = link
    this.#isKept = isKept
  }

  /** Fires when the client goes away before the end. Most requests are answered without anybody asking for it. */
  get signal(): AbortSignal {
    this.#gone ??= new AbortController()
    if (this.#hasLeft) this.#gone.abort()
    return this.#gone.signal
  }

  /** It was sent, or the client went away. */
  get isOver(): boolean {
    return this.#state === 'over'
  }

  /** The client went away. */
  leave(): void {
    if (this.#state === 'over') return
    this.#state = 'over'
    this.#hasLeft = true
    this.#gone?.abort()
  }

  /** Waits for the first bytes of the body, to leave with them. @throws WireFault WIRE_HEADER for what HTTP cannot carry. */
  head(status: number, headers: Readonly<Record<string, string>>): void {
    if (this.#state !== 'empty') return
    let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`
    for (const name in headers) {
      const { [name]: value = '' } = headers
      if (name === 'content-length') this.#body = 'counted'
      if (name === 'connection') this.#isKept &&= value !== 'close'
      else head += name === 'content-length' ? renderField(name, value) : this.#link.line(name, value)
    }
    this.#state = 'begun'
    this.#head = head + this.#link.standing(this.#isKept)
  }

  write(chunk: Uint8Array): boolean {
    if (this.#state === 'over' || chunk.byteLength === 0) return true
    this.#link.sends()
    if (this.#state !== 'sending') this.#begin()
    if (this.#body === 'chunked') this.#add(`${chunk.byteLength.toString(16)}\r\n`)
    if (chunk.byteLength > ONE_WRITE_BYTES) return this.#sendLarge(chunk)
    this.#add(this.#body === 'chunked' ? `${toText(chunk)}\r\n` : toText(chunk))
    if (this.#unsent.length > MAX_UNSENT_BYTES) this.flush()
    return !this.#link.socket.writableNeedDrain
  }

  /** Sends what waited for the end of the turn. */
  flush(): void {
    const text = this.#unsent
    this.#unsent = ''
    if (text !== '' && !this.#hasLeft) this.#link.socket.write(text, 'latin1')
  }

  end(chunk?: Uint8Array): void {
    if (this.#state === 'over') return
    if (this.#state === 'sending') {
      if (chunk) this.write(chunk)
      if (this.#body === 'chunked') this.#unsent += '0\r\n\r\n'
      this.flush()
    } else this.#sendWhole(chunk)
    this.#state = 'over'
    this.#link.answered(this.#isKept)
  }

  abort(): void {
    this.flush()
    this.#link.socket.destroy()
  }

  get isFlushed(): boolean {
    const { writableLength, destroyed } = this.#link.socket
    return this.#unsent === '' && writableLength === 0 && !destroyed
  }

  drained(): Promise<void> {
    const { socket } = this.#link
    return new Promise((resolve) => {
      if (socket.destroyed || !socket.writableNeedDrain) return resolve()
      const deadline = setTimeout(() => socket.destroy(), STALLED_MS).unref()
      const done = (): void => {
        clearTimeout(deadline)
        socket.off('drain', done)
        socket.off('close', done)
        resolve()
      }
      socket.on('drain', done)
      socket.on('close', done)
    })
  }

  /** The head, before a body that comes in pieces. */
  #begin(): void {
    this.#state = 'sending'
    if (this.#body === 'unknown') this.#body = 'chunked'
    this.#add(this.#body === 'chunked' ? `${this.#head}transfer-encoding: chunked\r\n\r\n` : `${this.#head}\r\n`)
    this.#head = ''
  }

  #add(text: string): void {
    if (this.#unsent === '') this.#link.flushLater(this)
    this.#unsent += text
  }

  /** With what was not sent yet, and without a copy. */
  #sendLarge(chunk: Uint8Array): boolean {
    const { socket } = this.#link
    socket.cork()
    this.flush()
    const isTaken = socket.write(chunk)
    const isRoom = this.#body === 'chunked' ? socket.write('\r\n', 'latin1') : isTaken
    socket.uncork()
    return isRoom
  }

  #sendWhole(chunk: Uint8Array | undefined): void {
    const { socket } = this.#link
    const length = chunk?.byteLength ?? 0
    const head = this.#body === 'counted' ? `${this.#head}\r\n` : `${this.#head}content-length: ${length}\r\n\r\n`
    if (!chunk || length === 0) socket.write(head, 'latin1')
    else if (length > ONE_WRITE_BYTES) {
      socket.cork()
      socket.write(head, 'latin1')
      socket.write(chunk)
      socket.uncork()
    }
    // As a string it leaves in one buffer with the head.
    else socket.write(head + toText(chunk), 'latin1')
  }
}

function toText({ buffer, byteOffset, byteLength }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString('latin1')
}

import { AppError } from '../../lib/errors.ts'
import type { Answer, HttpExchange } from '../../lib/http-exchange.ts'
import { createSseParser, type SseEvent } from '../../lib/sse.ts'
import type { Member } from './view.ts'

export type MemberRequest = Pick<HttpExchange, 'method' | 'headers' | 'body' | 'remoteAddress'>

/** The head of a member's answer, and its body as it comes. */
export interface MemberReply {
  status: number
  headers: Readonly<Record<string, string>>
  /** Whether the body is a stream of events. */
  isEvents: boolean
  /** To be read once; ends the exchange when it is left early. Throws AppError when the answer was broken off. */
  chunks: AsyncIterable<Uint8Array>
  /** For whoever does not want the body: ends the exchange. */
  discard(): void
}

/** Unread, a member has to wait; then it has to stop. */
const HIGH_WATER = 256 * 1024
const MAX_UNREAD = 64 * 1024 * 1024

/**
 * Sends one exchange to a member and waits for the head of its answer. When `signal` fires, the member is told that the client went away.
 * @throws AppError cancelled, or unavailable (origin upstream) when there is no answer.
 */
export function sendTo(member: Member, request: MemberRequest, signal: AbortSignal): Promise<MemberReply> {
  if (signal.aborted) return Promise.reject(new AppError('cancelled', 'the request was cancelled'))
  const incoming = new Incoming(signal)
  try {
    member.serve({ ...request, path: `/mcp/apps/${encodeURIComponent(member.name)}`, signal: incoming.gone, answer: incoming })
  } catch (cause) {
    incoming.fail(new AppError('unavailable', 'the MCP server cannot be reached', { origin: 'upstream_unreachable', cause }))
  }
  return incoming.reply
}

/** The whole body. @throws AppError resource_exhausted (origin upstream) when it is larger than `maxBytes`. */
export async function readWhole({ chunks }: MemberReply, maxBytes: number): Promise<Buffer> {
  const parts: Uint8Array[] = []
  let size = 0
  for await (const chunk of chunks) {
    size += chunk.byteLength
    if (size > maxBytes) throw new AppError('resource_exhausted', 'the answer of the MCP server is too large', { origin: 'upstream' })
    parts.push(chunk)
  }
  return Buffer.concat(parts)
}

/** The events of a body that is a stream of them. */
export async function* readEvents({ chunks }: MemberReply): AsyncGenerator<SseEvent> {
  const parser = createSseParser()
  for await (const chunk of chunks) yield* parser.push(chunk)
}

/** The answering side, in memory: what is written waits here until it is read. */
class Incoming implements Answer {
  readonly #head = Promise.withResolvers<MemberReply>()
  readonly #gone = new AbortController()
  readonly #outer: AbortSignal
  readonly #onOuter = (): void => this.fail(new AppError('cancelled', 'the request was cancelled'))
  #unread: Uint8Array[] = []
  #size = 0
  #isOver = false
  #hasHead = false
  #fault: AppError | undefined
  #readable = Promise.withResolvers<void>()
  #drained: PromiseWithResolvers<void> | undefined

  constructor(outer: AbortSignal) {
    this.#outer = outer
    outer.addEventListener('abort', this.#onOuter, { once: true })
  }

  get gone(): AbortSignal {
    return this.#gone.signal
  }

  get reply(): Promise<MemberReply> {
    return this.#head.promise
  }

  head(status: number, headers: Readonly<Record<string, string>>): void {
    this.#hasHead = true
    const isEvents = /^text\/event-stream\b/i.test(headers['content-type'] ?? '')
    this.#head.resolve({
      status,
      headers,
      isEvents,
      chunks: this.#read(),
      discard: () => this.fail(new AppError('cancelled', 'not wanted')),
    })
  }

  write(chunk: Uint8Array): boolean {
    if (this.#isOver) return true
    this.#unread.push(chunk)
    this.#size += chunk.byteLength
    if (this.#size > MAX_UNREAD)
      this.fail(new AppError('unavailable', 'the MCP server sends faster than it is read', { origin: 'upstream' }))
    this.#readable.resolve()
    return this.#size < HIGH_WATER
  }

  drained(): Promise<void> {
    if (this.#isOver || this.#size < HIGH_WATER) return Promise.resolve()
    this.#drained ??= Promise.withResolvers()
    return this.#drained.promise
  }

  end(chunk?: Uint8Array): void {
    if (this.#isOver) return
    if (chunk) this.write(chunk)
    this.#finish()
    // An error costs a look at the stack, which no answer that is as it should be has to pay for.
    if (!this.#hasHead)
      this.#head.reject(new AppError('unavailable', 'the MCP server ended its answer before it began', { origin: 'upstream' }))
  }

  abort(reason: string): void {
    this.fail(new AppError('unavailable', reason, { origin: 'upstream' }))
  }

  /** Ends both sides. */
  fail(error: AppError): void {
    if (this.#isOver) return
    this.#fault = error
    this.#unread = []
    this.#finish()
    this.#head.reject(error)
    this.#gone.abort()
  }

  #finish(): void {
    this.#isOver = true
    this.#outer.removeEventListener('abort', this.#onOuter)
    this.#readable.resolve()
    this.#drained?.resolve()
  }

  async *#read(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        const chunks = this.#unread
        this.#unread = []
        this.#size = 0
        this.#drained?.resolve()
        this.#drained = undefined
        yield* chunks
        if (this.#fault) throw this.#fault
        if (this.#unread.length > 0) continue
        if (this.#isOver) return
        await this.#readable.promise
        this.#readable = Promise.withResolvers()
      }
    } finally {
      if (!this.#isOver) this.fail(new AppError('cancelled', 'not wanted'))
    }
  }
}

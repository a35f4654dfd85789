import type { IncomingMessage, ServerResponse } from 'node:http'
import { type BodyRoom, HeldBody, noRoom } from '../../lib/body-room.ts'
import { type ByteBuffer, createByteBuffer } from '../../lib/byte-buffer.ts'
import { AppError } from '../../lib/errors.ts'
import { isRawPath } from '../../resources/db-app.ts'
import type { Answer, HttpExchange } from '../../lib/http-exchange.ts'

/** What must not travel on: the credentials of this hop, and what belongs to its connection (RFC 9110 §7.6.1). */
const KEPT_BACK = new Set([
  'authorization',
  'dpop',
  'cookie',
  'proxy-authorization',
  'host',
  'origin',
  'connection',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'content-length',
  'expect',
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
])

export interface ExchangeReader {
  onExchange(exchange: HttpExchange): void
  /**
   * invalid_argument (415) for another type than JSON, resource_exhausted (413) for too large a body, unavailable for lack of room, cancelled when the
   * client went away.
   */
  onFault(error: AppError): void
  /** Headers in lower case that do not travel on, beside the usual ones; asked for when the body is there. */
  keptBack?: () => readonly string[]
}

/** Reads an MCP request whose answer goes to `response`. Neither is called when the client left when all was read. */
export function readExchange(request: IncomingMessage, response: ServerResponse, limits: BodyLimits, reader: ExchangeReader): void {
  const deliver = (body: Buffer): void => {
    if (!response.destroyed) reader.onExchange(new NodeExchange(request, response, body, reader.keptBack?.()))
  }
  if (request.method !== 'POST') return deliver(NOTHING)
  const type = request.headers['content-type']
  if (!isJson(type) && !(type === 'application/octet-stream' && isRawPath(request.url ?? '')))
    return reader.onFault(
      new AppError('invalid_argument', 'Content-Type must be application/json', { details: { http: 415, rpc: -32600 } }),
    )
  const held = new HeldBody(limits.room)
  response.once('close', () => held.letGo())
  readBody(
    request,
    limits.maxBytes,
    deliver,
    reader.onFault,
    (before, bytes) => !response.closed && held.hold(before, bytes, limits.sender),
  )
}

interface BodyLimits {
  maxBytes: number
  room: BodyRoom
  /** Who sends it; asked for a large one. */
  sender: () => string
}

const NOTHING = Buffer.alloc(0)

/** A class for the reason that `WireExchange` is one. */
class NodeExchange implements HttpExchange {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
  readonly remoteAddress: string
  readonly answer: Answer
  readonly #response: ServerResponse
  #gone: AbortController | undefined

  constructor(request: IncomingMessage, response: ServerResponse, body: Buffer, keptBack: readonly string[] | undefined) {
    this.method = request.method ?? 'GET'
    this.path = request.url ?? '/'
    this.headers = headersForAgent(request.headers, keptBack)
    this.body = body
    this.remoteAddress = request.socket.remoteAddress ?? ''
    this.answer = answerOf(response)
    this.#response = response
  }

  /** Most requests are answered without anybody asking for it. */
  get signal(): AbortSignal {
    this.#gone ??= watchClient(this.#response)
    return this.#gone.signal
  }
}

function watchClient(response: ServerResponse): AbortController {
  const gone = new AbortController()
  const leave = (): void => {
    if (!response.writableFinished) gone.abort()
  }
  if (response.destroyed) leave()
  else response.on('close', leave)
  return gone
}

export function isJson(type: string | undefined): boolean {
  return type === 'application/json' || type?.split(';')[0]?.trim().toLowerCase() === 'application/json'
}

/** A request's headers for the agent; a header the caller could use to pass for us is gone. */
export function headersForAgent(
  sent: Readonly<Record<string, string | string[] | undefined>>,
  keptBack: readonly string[] = [],
): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(sent)) {
    if (value === undefined || KEPT_BACK.has(name) || keptBack.includes(name)) continue
    headers[name] = typeof value === 'string' ? value : value.join(', ')
  }
  return headers
}

/**
 * The whole body; `onFault` with resource_exhausted (413) when it is larger than `maxBytes`, unavailable when `hold` says no, cancelled when the
 * client went away. One of both is called once.
 * @param hold whether there is room for so many bytes behind those that came before.
 */
export function readBody(
  request: IncomingMessage,
  maxBytes: number,
  onBody: (body: Buffer) => void,
  onFault: (error: AppError) => void,
  hold: (before: number, bytes: number) => boolean = () => true,
): void {
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) return onFault(tooLarge(maxBytes))
  // The events of a request that has ended were missed already.
  if (request.destroyed) return onFault(brokenOff())
  /** The only piece, as it mostly is; more of them are collected, since a client may send millions of a byte each. */
  let only: Buffer | undefined
  let more: ByteBuffer | undefined
  let size = 0
  let isOver = false
  const fail = (error: AppError): void => {
    if (isOver) return
    isOver = true
    onFault(error)
  }
  const stop = (error: AppError): void => {
    request.removeAllListeners('data')
    request.resume()
    only = more = undefined
    fail(error)
  }
  const add = (chunk: Buffer): void => {
    if (size === chunk.byteLength) return void (only = chunk)
    more ??= createByteBuffer(maxBytes, 'a request')
    if (only) more.adopt(only)
    only = undefined
    more.adopt(chunk)
  }
  request.on('data', (chunk: Buffer) => {
    size += chunk.byteLength
    if (size > maxBytes) stop(tooLarge(maxBytes))
    else if (!hold(size - chunk.byteLength, chunk.byteLength)) stop(noRoom())
    else add(chunk)
  })
  request.on('end', () => {
    if (isOver) return
    isOver = true
    onBody(only ?? more?.take() ?? NOTHING)
  })
  request.on('error', (cause) => fail(brokenOff(cause)))
  // Every request closes in the end, and an error with its stack costs more than the rest of this function.
  request.on('close', () => isOver || fail(brokenOff()))
}

function brokenOff(cause?: unknown): AppError {
  return new AppError('cancelled', 'the client broke off its request', { cause })
}

function tooLarge(maxBytes: number): AppError {
  return new AppError('resource_exhausted', `the request is larger than ${maxBytes} bytes`, { details: { http: 413, rpc: -32600 } })
}

/** Up to here a copy is cheaper than a second buffer for the kernel. */
const ONE_WRITE_BYTES = 16 * 1024

/** The answering side over a node response. Writes after the client went away do nothing. */
export function answerOf(response: ServerResponse): Answer {
  return {
    head: (status, headers) => {
      if (!response.headersSent) response.writeHead(status, headers)
    },
    write: (chunk) => isOver(response) || response.write(chunk),
    drained: () => waitForDrain(response),
    end: (chunk) => {
      if (isOver(response)) return
      if (!chunk) response.end()
      else if (chunk.byteLength > ONE_WRITE_BYTES) response.end(chunk)
      // As a string it leaves in one buffer with the head; latin1 gives every byte back as it was.
      else response.end(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).toString('latin1'), 'latin1')
    },
    abort: () => {
      response.destroy()
    },
  }
}

/** A client that takes nothing for so long holds memory and an MCP request of others: it is cut off. */
const STALLED_MS = 60_000

function isOver(response: ServerResponse): boolean {
  return response.destroyed || response.writableEnded
}

function waitForDrain(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    if (response.destroyed || !response.writableNeedDrain) return resolve()
    const deadline = setTimeout(() => response.destroy(), STALLED_MS).unref()
    const done = (): void => {
      clearTimeout(deadline)
      response.off('drain', done)
      response.off('close', done)
      resolve()
    }
    response.on('drain', done)
    response.on('close', done)
  })
}

import type { IncomingMessage, ServerResponse } from 'node:http'
import { AppError } from '../../lib/errors.ts'
import type { Answer, HttpExchange } from '../../lib/http-exchange.ts'

/** What must not travel on: the credentials of this hop, and what belongs to its connection (RFC 9110 §7.6.1). */
const KEPT_BACK = new Set([
  'authorization',
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

/**
 * An MCP request whose answer goes to `response`; undefined when the client left meanwhile.
 * @throws AppError invalid_argument (415) for another type than JSON, and as `readBody` does.
 */
export async function readExchange(
  request: IncomingMessage,
  response: ServerResponse,
  maxBytes: number,
): Promise<HttpExchange | undefined> {
  const method = request.method ?? 'GET'
  if (method === 'POST') checkContentType(request)
  const body = method === 'POST' ? await readBody(request, maxBytes) : Buffer.alloc(0)
  if (response.destroyed) return undefined
  const gone = new AbortController()
  response.on('close', () => {
    if (!response.writableFinished) gone.abort()
  })
  const remoteAddress = request.socket.remoteAddress ?? ''
  return {
    method,
    path: request.url ?? '/',
    headers: headersOf(request),
    body,
    remoteAddress,
    signal: gone.signal,
    answer: answerOf(response),
  }
}

function checkContentType(request: IncomingMessage): void {
  const type = request.headers['content-type']?.split(';')[0]?.trim().toLowerCase()
  if (type !== 'application/json')
    throw new AppError('invalid_argument', 'Content-Type must be application/json', { details: { http: 415, rpc: -32600 } })
}

/** The request's headers for the agent; a header the caller could use to pass for us is gone. */
function headersOf(request: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(request.headers)) {
    if (value === undefined || KEPT_BACK.has(name)) continue
    headers[name] = typeof value === 'string' ? value : value.join(', ')
  }
  return headers
}

/** @throws AppError resource_exhausted (413) when the body is larger than `maxBytes`, cancelled when the client went away. */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge(maxBytes)
  // The events of a request that has ended were missed already.
  if (request.destroyed) throw new AppError('cancelled', 'the client broke off its request')
  const chunks: Buffer[] = []
  let size = 0
  return new Promise((resolve, reject) => {
    request.on('data', (chunk: Buffer) => {
      size += chunk.byteLength
      if (size > maxBytes) {
        request.removeAllListeners('data')
        request.resume()
        reject(tooLarge(maxBytes))
      } else {
        chunks.push(chunk)
      }
    })
    let isWhole = false
    request.on('end', () => {
      isWhole = true
      resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks))
    })
    request.on('error', (cause) => reject(new AppError('cancelled', 'the client broke off its request', { cause })))
    request.on('close', () => {
      // Every request closes in the end, and an error with its stack costs more than the rest of this function.
      if (!isWhole) reject(new AppError('cancelled', 'the client broke off its request'))
    })
  })
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

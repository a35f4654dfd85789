import type { IncomingMessage, ServerResponse } from 'node:http'
import { AppError, CODES, toAppError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { nameSchema } from '../../resources/envelope.ts'
import type { ExchangeTarget } from '../../tunnel/exchange.ts'
import type { Assertions } from './assertions.ts'
import { readExchange } from './node-exchange.ts'

export interface McpRouteOptions {
  assertions: Assertions
  target: ExchangeTarget
  maxRequestBytes: number
  log: Logger
}

/** `/sse` is where clients of the transport of 2024-11-05 expect it; it is the same endpoint. */
const PATH = /^\/mcp\/apps\/([^/?#]+)(?:\/sse)?\/?$/

/** The server a path names, or undefined when it is no MCP endpoint: no server has a name with a slash or a control character. */
export function findMcpServer(path: string): string | undefined {
  const name = PATH.exec(path)?.[1]
  if (name === undefined) return undefined
  const decoded = decode(name)
  return decoded !== '.' && decoded !== '..' && nameSchema.safeParse(decoded).success ? decoded : undefined
}

export function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined // a broken escape names nothing
  }
}

/** Hands an MCP request to the agent in front of the server, with the caller's route assertion in place of its credential. */
export async function serveMcp(
  request: IncomingMessage,
  response: ServerResponse,
  server: string,
  options: McpRouteOptions,
): Promise<void> {
  try {
    const token = bearerOf(request)
    const assertion = isAssertion(token) ? token : await options.assertions.get(token, server, request.socket.remoteAddress ?? '')
    const exchange = await readExchange(request, response, options.maxRequestBytes)
    if (exchange) options.target({ ...exchange, server, assertion })
  } catch (thrown) {
    refuse(response, toAppError(thrown), options.log)
  }
}

/** @throws AppError unauthenticated unless there is exactly one bearer token (RFC 6750 §2.1). */
export function bearerOf(request: IncomingMessage): string {
  // Node keeps the first of several; another reader could keep the last.
  const [value = '', ...others] = request.headersDistinct['authorization'] ?? []
  const token = others.length > 0 ? undefined : /^Bearer +([A-Za-z0-9._~+/=-]{1,65536})$/i.exec(value)?.[1]
  if (token === undefined)
    throw new AppError('unauthenticated', 'a bearer token is required: tctl api-tokens add makes one, or connect with tsh mcp connect')
  return token
}

/** A client with a certificate brings the assertion it got from the Auth Service itself; the agent verifies it. */
export function isAssertion(token: string): boolean {
  return token.split('.').length === 3
}

/** The same form as an agent's refusal: HTTP status, and a JSON-RPC error that every client can show. */
export function refuse(response: ServerResponse, error: AppError, log: Logger): void {
  if (error.code === 'internal') log.error('MCP request failed', { error, ...error.details })
  if (response.headersSent || response.destroyed) return
  const { http, rpc } = error.details ?? {}
  const status = typeof http === 'number' ? http : CODES[error.code].http
  const body = JSON.stringify({
    jsonrpc: '2.0',
    id: null,
    error: { code: typeof rpc === 'number' ? rpc : CODES[error.code].rpc, message: error.message },
  })
  const challenge = status === 401 ? { 'www-authenticate': 'Bearer realm="sallyport", error="invalid_token"' } : {}
  const close = status === 413 ? { connection: 'close' } : {}
  response.writeHead(status, {
    'content-type': 'application/json',
    'cache-control': 'no-store',
    'sallyport-error-origin': 'gateway',
    ...challenge,
    ...close,
  })
  response.end(body)
}

import { timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { AppError, toAppError } from '../lib/errors.ts'
import { checkHost, checkOrigin } from '../lib/loopback.ts'
import { readBounded } from '../lib/read-bounded.ts'
import type { McpEndpoint } from './mcp-endpoint.ts'
import { explain } from './mcp-errors.ts'
import { MAX_MESSAGE_BYTES } from './mcp-stream.ts'

/** Several MCP servers, by the path of a request. */
export interface McpEndpoints {
  /** The endpoint at a path, without query. Throws `not_found`. */
  at(path: string): McpEndpoint
  close(): void
}

export interface McpForwarderOptions {
  /** The one server that all requests are for, or several. */
  endpoint: McpEndpoint | McpEndpoints
  /** A loopback address and port (0: any that is free), or the path of a socket. */
  listen: { host: string; port: number } | { path: string }
  /** What local clients have to present as a bearer token; absent: whoever reaches the address may use it. */
  token?: string | undefined
  log: (line: string) => void
}

export interface McpForwarder {
  /** 0 on a socket. */
  port: number
  /** Settles when nothing is open any more. */
  close(): Promise<void>
}

/** Of a client's request only what MCP says goes on (Streamable HTTP of every revision). */
const REQUEST_HEADERS = /^(?:accept|content-type|last-event-id|mcp-.+)$/
const ANSWER_HEADERS = /^(?:content-type|cache-control|mcp-session-id|retry-after|allow)$/

/**
 * Serves one MCP server here, over streamable HTTP, with the credentials that `endpoint` has at the moment. A web page of another origin is
 * turned away, and one that took our name for its own (DNS rebinding). @throws AppError failed_precondition when the address is taken.
 */
export async function startMcpForwarder(options: McpForwarderOptions): Promise<McpForwarder> {
  const server = createServer({ maxHeaderSize: 32 * 1024, requestTimeout: 60_000 }, (request, response) => {
    forward(request, response, options).catch((thrown: unknown) => refuse(response, thrown, options))
  })
  // An event stream may be silent for long.
  server.setTimeout(0)
  await listen(server, options.listen)
  const address = server.address()
  return {
    port: typeof address === 'object' && address ? address.port : 0,
    close: () =>
      new Promise((fulfil) => {
        server.close(() => fulfil())
        server.closeAllConnections()
        options.endpoint.close()
      }),
  }
}

async function forward(
  request: IncomingMessage,
  response: ServerResponse,
  { endpoint, listen: where, token }: McpForwarderOptions,
): Promise<void> {
  const { method } = request
  if ('port' in where) checkSource(request)
  if (token !== undefined && !isBearer(request, token))
    throw new AppError('unauthenticated', 'this endpoint wants its bearer token', { details: { http: 401 } })
  if (method !== 'POST' && method !== 'GET' && method !== 'DELETE')
    throw new AppError('invalid_argument', 'an MCP endpoint takes POST, GET and DELETE', { details: { http: 405 } })
  const body = method === 'POST' ? await readBounded(request, MAX_MESSAGE_BYTES, tooLarge) : undefined
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  const target = 'at' in endpoint ? endpoint.at((request.url ?? '').replace(/\?.*$/s, '')) : endpoint
  const answer = await target.send({ method, headers: pick(request, REQUEST_HEADERS), ...(body && { body }), signal: gone.signal })
  // The client would begin a sign-in of its own with us; signing in is up to the person, or to whatever renews our credentials.
  response.writeHead(answer.statusCode === 401 ? 403 : (answer.statusCode ?? 502), pick(answer, ANSWER_HEADERS))
  response.flushHeaders()
  // A connection that breaks on one side ends the other, and nobody is left to be told.
  await pipeline(answer, response).catch(() => {})
}

const tooLarge = (): AppError =>
  new AppError('resource_exhausted', `a message may have ${MAX_MESSAGE_BYTES} bytes`, { details: { http: 413 } })

function checkSource({ headers }: IncomingMessage): void {
  if (!checkHost(headers.host, ['localhost']) || !checkOrigin(headers.origin, ['localhost']))
    throw new AppError('permission_denied', 'only programs of this machine may use this endpoint, under a loopback name')
}

function isBearer({ headers }: IncomingMessage, token: string): boolean {
  const given = Buffer.from(headers.authorization ?? '')
  const wanted = Buffer.from(`Bearer ${token}`)
  return given.length === wanted.length && timingSafeEqual(given, wanted)
}

function pick({ headers }: IncomingMessage, names: RegExp): Record<string, string> {
  const picked: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) if (typeof value === 'string' && names.test(name)) picked[name] = value
  return picked
}

/** In JSON-RPC, so that the client shows it; without credentials 403, since 401 would make it begin a sign-in of its own. */
function refuse(response: ServerResponse, thrown: unknown, { log }: McpForwarderOptions): void {
  const { message } = explain(thrown)
  if (response.destroyed) return
  if (response.headersSent) return void response.destroy()
  log(message)
  const { code, details } = toAppError(thrown)
  const status =
    typeof details?.['http'] === 'number' ? details['http'] : code === 'unauthenticated' || code === 'permission_denied' ? 403 : 502
  const error = { code: -32603, message }
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store', connection: 'close' })
  response.end(JSON.stringify({ jsonrpc: '2.0', id: null, error }))
}

function listen(server: Server, where: McpForwarderOptions['listen']): Promise<void> {
  const name = 'path' in where ? where.path : `${where.host}:${where.port}`
  return new Promise((fulfil, reject) => {
    server.once('error', (cause) => reject(new AppError('failed_precondition', `cannot listen on ${name}: ${cause.message}`, { cause })))
    server.listen(where, fulfil)
  })
}

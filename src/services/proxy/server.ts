import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import { TLSSocket } from 'node:tls'
import { AppError, CODES, toAppError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { checkHost, checkOrigin } from '../../lib/loopback.ts'
import { type Aggregate, findAggregate } from './aggregate-route.ts'
import { findMcpServer, type McpRouteOptions, serveMcp } from './mcp-route.ts'

export interface ProxyServerOptions extends McpRouteOptions {
  /** All MCP servers as one. */
  aggregate: Pick<Aggregate, 'serve'>
  /** API and pages of the Auth Service. */
  auth: RequestListener
  /** The configured `HOST:PORT` values clients reach us by; loopback names are always among them. */
  publicAddresses: readonly string[]
  isReady: () => boolean
  log: Logger
}

const SILENCE_MS = 15 * 60_000

/** The edge: every request passes these steps in this order. */
export function createProxyServer(options: ProxyServerOptions): Server {
  const server = createServer(
    { keepAliveTimeout: 75_000, headersTimeout: 15_000, requestTimeout: 60_000, maxHeaderSize: 32 * 1024 },
    (request, response) => {
      serve(request, response, options).catch((thrown: unknown) => refuse(response, thrown, options.log))
    },
  )
  server.maxHeadersCount = 100
  // Longer than any MCP request may be silent: whoever takes and sends nothing for that long is gone.
  server.setTimeout(SILENCE_MS)
  return server
}

async function serve(request: IncomingMessage, response: ServerResponse, options: ProxyServerOptions): Promise<void> {
  const path = pathOf(request)
  if (path === '/healthz') return answer(response, 200, { status: 'ok' })
  if (path === '/readyz') return options.isReady() ? answer(response, 200, { status: 'ok' }) : answer(response, 503, { status: 'starting' })

  const hosts = allowedHosts(request, options)
  if ((request.headersDistinct['host'] ?? []).length > 1) throw new AppError('invalid_argument', 'a request has one Host')
  if (!checkHost(request.headers.host, hosts))
    throw new AppError('permission_denied', 'this Host is not served here: set proxy_service.public_addr')
  if (!checkOrigin(request.headers.origin, hosts)) throw new AppError('permission_denied', 'pages of this Origin may not call this proxy')

  const server = findMcpServer(path)
  if (server !== undefined) return serveMcp(request, response, server, options)
  const all = findAggregate(path)
  if (all) return options.aggregate.serve(request, response, all.set)
  if (path.startsWith('/v1/') || path.startsWith('/web/') || path.startsWith('/.well-known/')) return options.auth(request, response)
  answer(response, 404, { error: { code: 'not_found', message: `nothing is served at ${path.slice(0, 200)}` } })
}

/**
 * Names we answer to, against DNS rebinding (a page that points its own name at our address). Without a configured name a TLS
 * connection may use any: the certificate has told that name apart already.
 */
function allowedHosts(request: IncomingMessage, options: ProxyServerOptions): string[] {
  const own = ['localhost', ...options.publicAddresses]
  const isTls = request.socket instanceof TLSSocket
  return isTls && options.publicAddresses.length === 0 && request.headers.host !== undefined ? [...own, request.headers.host] : own
}

function pathOf(request: IncomingMessage): string {
  const url = request.url ?? '/'
  const query = url.indexOf('?')
  return query === -1 ? url : url.slice(0, query)
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' })
  response.end(JSON.stringify(body))
}

function refuse(response: ServerResponse, thrown: unknown, log: Logger): void {
  const error = toAppError(thrown)
  if (error.code === 'internal') log.error('request failed', { error: String(error.cause), ...error.details })
  if (!response.headersSent) answer(response, CODES[error.code].http, { error: { code: error.code, message: error.message } })
}

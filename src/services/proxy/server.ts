import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { type AppError, CODES, toAppError } from '../../lib/errors.ts'
import type { PlainRequest } from '../../lib/http-wire/plain-request.ts'
import { WireServer } from '../../lib/http-wire/server.ts'
import type { Route } from '../../lib/http-wire/server-connection.ts'
import type { Logger } from '../../lib/log.ts'
import { isMetadataPath, isOpenToPages } from '../../resources/oauth-paths.ts'
import { type Aggregate, findAggregate } from './aggregate-route.ts'
import { EdgeChecks } from './edge-checks.ts'
import { McpRoutes, type McpRouteOptions } from './mcp-route.ts'
import { isJson } from './node-exchange.ts'

export interface ProxyServerOptions extends McpRouteOptions {
  /** All MCP servers as one. */
  aggregate: Pick<Aggregate, 'serve' | 'routeOf'>
  /** API and pages of the Auth Service. */
  auth: RequestListener
  /** The configured `HOST:PORT` values clients reach us by; loopback names are always among them. */
  publicAddresses: readonly string[]
  isReady: () => boolean
  /** Writes down that a request was refused at the edge. It is refused whatever comes of that. */
  noteRefusal?: ((sent: { method: string; path: string; remoteAddress: string }, error: AppError) => Promise<void>) | undefined
  /** Takes connections that ask for another protocol, which it refuses or serves. */
  onUpgrade?: ((request: IncomingMessage, socket: Duplex, head: Buffer) => void) | undefined
  /** Milliseconds of a clock that nobody sets. */
  monotonic: () => number
  now: () => number
  log: Logger
}

/** What the Auth Service serves to the outside: its API, the pages, the authorization server. */
const AUTH_PATH = /^\/(?:v1|web|webapi|oauth|workload-identity|\.well-known)\//
/** What people type who were told the address of the proxy. */
const FRONT_DOORS = new Set(['/', '/web', '/web/'])
const SILENCE_MS = 15 * 60_000

/** The edge: every request passes the steps of `serve` in this order; those of MCP clients in their usual form pass the same in `routeOf`. */
export function createProxyServer(options: ProxyServerOptions): WireServer {
  const parts = { ...options, edge: new EdgeChecks(options.publicAddresses), mcp: new McpRoutes(options) }
  const server = createServer(
    { keepAliveTimeout: 75_000, headersTimeout: 15_000, requestTimeout: 60_000, maxHeaderSize: 32 * 1024 },
    (request, response) => {
      try {
        serve(request, response, parts)
      } catch (thrown) {
        refuse(response, thrown, options.log)
      }
    },
  )
  server.maxHeadersCount = 100
  // Longer than any MCP request may be silent: whoever takes and sends nothing for that long is gone.
  server.setTimeout(SILENCE_MS)
  if (options.onUpgrade) server.on('upgrade', options.onUpgrade)
  const { room, monotonic, now } = options
  return new WireServer({ route: (head, socket) => routeOf(head, socket, parts), fallback: server, room, monotonic, now })
}

interface Edge extends ProxyServerOptions {
  edge: EdgeChecks
  mcp: McpRoutes
}

function serve(request: IncomingMessage, response: ServerResponse, parts: Edge): void {
  const { edge, mcp, aggregate, auth, isReady } = parts
  const path = pathOf(request.url)
  if (path === '/healthz') return answer(response, 200, { status: 'ok' })
  if (path === '/readyz') return isReady() ? answer(response, 200, { status: 'ok' }) : answer(response, 503, { status: 'starting' })
  try {
    edge.check(request, isOpenToPages(path))
  } catch (thrown) {
    return refuseNoted(request, response, toAppError(thrown), parts)
  }
  if (FRONT_DOORS.has(path) && (request.method === 'GET' || request.method === 'HEAD')) return showAccount(response)
  const server = mcp.find(path)
  if (server !== undefined) return mcp.serve(request, response, server)
  const all = findAggregate(path)
  if (all) return void aggregate.serve(request, response, all.set)
  if (AUTH_PATH.test(path) || isMetadataPath(path)) return auth(request, response)
  answer(response, 404, { error: { code: 'not_found', message: `nothing is served at ${path.slice(0, 200)}` } })
}

/** A page of another site, or one that has our address under its own name. */
function refuseNoted(request: IncomingMessage, response: ServerResponse, error: AppError, { noteRefusal, log }: Edge): void {
  const { method = '', url, socket } = request
  const noted = noteRefusal?.({ method, path: pathOf(url), remoteAddress: socket.remoteAddress ?? '' }, error)
  if (!noted) return refuse(response, error, log)
  noted
    .catch((cause: unknown) => log.debug('a request that was refused at the edge is not in the audit log', { error: String(cause) }))
    .finally(() => refuse(response, error, log))
}

/** Undefined for what is not for an MCP endpoint, and for what is refused: `serve` says why. */
function routeOf(head: PlainRequest, socket: Socket, { edge, mcp, aggregate }: Edge): Route | undefined {
  const path = pathOf(head.target)
  const server = mcp.find(path)
  const all = server === undefined ? findAggregate(path) : undefined
  if ((server === undefined && !all) || (head.method === 'POST' && !isJson(head.headers['content-type']))) return undefined
  try {
    edge.checkNames(head.headers, socket instanceof TLSSocket)
    return server === undefined ? aggregate.routeOf(head, socket, all?.set) : mcp.routeOf(head, socket, server)
  } catch {
    return undefined
  }
}

function pathOf(url = '/'): string {
  const query = url.indexOf('?')
  return query === -1 ? url : url.slice(0, query)
}

function showAccount(response: ServerResponse): void {
  response.writeHead(302, { location: '/web/account', 'cache-control': 'no-store' }).end()
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' })
  response.end(JSON.stringify(body))
}

function refuse(response: ServerResponse, thrown: unknown, log: Logger): void {
  const error = toAppError(thrown)
  if (error.code === 'internal') log.error('request failed', { error: String(error.cause), ...error.details })
  // What a request of another form than it seems to have is followed by is none.
  if (error.details?.['close'] === true) response.shouldKeepAlive = false
  if (!response.headersSent) answer(response, CODES[error.code].http, { error: { code: error.code, message: error.message } })
}

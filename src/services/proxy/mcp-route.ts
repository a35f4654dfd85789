import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { BodyRoom } from '../../lib/body-room.ts'
import { AppError, CODES, toAppError } from '../../lib/errors.ts'
import type { HttpExchange } from '../../lib/http-exchange.ts'
import type { PlainRequest } from '../../lib/http-wire/plain-request.ts'
import type { Route } from '../../lib/http-wire/server-connection.ts'
import type { WireExchange } from '../../lib/http-wire/wire-exchange.ts'
import type { Logger } from '../../lib/log.ts'
import { databaseServerName, findRawDatabase } from '../../resources/db-app.ts'
import { findMcpEndpoint } from '../../resources/mcp-endpoint.ts'
import type { ExchangeTarget } from '../../tunnel/exchange.ts'
import type { Assertions } from './assertions.ts'
import { BoundAssertions, isAssertion } from './bound-assertions.ts'
import { type Asked, askedBy, challengeFor } from './challenge.ts'
import type { DpopProofs } from './dpop.ts'
import { senderByAssertion, senderByCertificate } from './body-sender.ts'
import { headersForAgent, readExchange } from './node-exchange.ts'
import { bearerOf, boundOf, isBound, readBearer } from './presented.ts'
import type { ForeignHeaders } from './foreign-headers.ts'
import { RoutedExchange } from './routed-exchange.ts'

export interface McpRouteOptions {
  assertions: Assertions
  /** Where else a token may stand. */
  foreign: ForeignHeaders
  target: ExchangeTarget
  maxRequestBytes: number
  /** For the bodies of all requests. */
  room: BodyRoom
  /** Of tokens that are bound to a key. */
  proofs: DpopProofs
  log: Logger
}

/** So many paths are kept with what they name. */
const MAX_PATHS = 4096

/** The endpoints of single MCP servers: hands each request to the agent in front of its server. */
export class McpRoutes {
  readonly #options: McpRouteOptions
  /** The servers that paths name, as far as they name one. */
  readonly #servers = new Map<string, string>()
  readonly #bound = new BoundAssertions()

  constructor(options: McpRouteOptions) {
    this.#options = options
  }

  /** The server a path names, or undefined when it is no MCP endpoint. */
  find(path: string): string | undefined {
    const known = this.#servers.get(path)
    if (known !== undefined) return known
    const found = findMcpServer(path)
    if (found === undefined) return undefined
    if (this.#servers.size >= MAX_PATHS) this.#servers.clear()
    this.#servers.set(path, found)
    return found
  }

  /** Answers a request with the caller's route assertion in place of its credential; never throws. */
  serve(request: IncomingMessage, response: ServerResponse, server: string): void {
    try {
      const token = isBound(request) ? undefined : this.#tokenOf(request)
      if (token !== undefined && this.#bound.isAcceptable(token, request))
        return this.#forward(request, response, server, token, () => senderByCertificate(request.socket))
      const known = token === undefined ? undefined : this.#options.assertions.find(token, server)
      if (known !== undefined) return this.#forward(request, response, server, known)
      this.#exchange(request, response, token, server).then(
        (assertion) => this.#forward(request, response, server, assertion),
        // The Auth Service has written down what it refused.
        (thrown: unknown) => refuse(request, response, explained(toAppError(thrown), token), this.#options.log),
      )
    } catch (thrown) {
      refuse(request, response, toAppError(thrown), this.#options.log)
    }
  }

  async #exchange(request: IncomingMessage, response: ServerResponse, token: string | undefined, server: string): Promise<string> {
    const { assertions, proofs } = this.#options
    const remoteAddress = request.socket.remoteAddress ?? ''
    if (token !== undefined) return await assertions.get(token, server, remoteAddress)
    const { credential, use } = await boundOf(request, response, proofs)
    const assertion = await assertions.get(credential, server, remoteAddress)
    await use()
    return assertion
  }

  /** The same for requests of our own server. @throws AppError unauthenticated, to be said by the other; a proof of a key is its business too. */
  routeOf(head: PlainRequest, socket: Socket, server: string): Route {
    const { headers } = head
    const { assertions, foreign, maxRequestBytes, log } = this.#options
    const token = this.#bound.credentialOf(readBearer(headers['authorization'] ?? foreign.find(headers)), socket)
    const isOwn = this.#bound.isAcceptable(token, { socket })
    const { names } = foreign
    return {
      isCurrent: () => foreign.names === names,
      headers: headersForAgent(headers, names),
      maxBodyBytes: maxRequestBytes,
      admit: (remoteAddress) =>
        isOwn || assertions.find(token, server) !== undefined
          ? undefined
          : assertions.get(token, server, remoteAddress).then(
              () => undefined,
              (thrown: unknown) => explained(toAppError(thrown), token),
            ),
      sender: () => (isOwn ? senderByCertificate(socket) : senderByAssertion(assertions.find(token, server))),
      refuse: (exchange, error) => refuseExchange(exchange, askedBy(head, socket), error, log),
      serve: (exchange) => {
        try {
          const known = isOwn ? token : assertions.find(token, server)
          if (known === undefined) this.#serveUnknown(exchange, askedBy(head, socket), token, server)
          else this.#options.target(new RoutedExchange(exchange, server, known))
        } catch (thrown) {
          refuseExchange(exchange, askedBy(head, socket), toAppError(thrown), log)
        }
      },
    }
  }

  #tokenOf(request: IncomingMessage): string {
    const { headers } = request
    const { foreign } = this.#options
    const token = headers.authorization === undefined ? readBearer(foreign.find(headers)) : bearerOf(request)
    return this.#bound.credentialOf(token, request.socket)
  }

  #serveUnknown(exchange: WireExchange, asked: Asked, token: string, server: string): void {
    const { assertions, target, log } = this.#options
    assertions.get(token, server, exchange.remoteAddress).then(
      (assertion) => {
        if (!exchange.isOver) target(new RoutedExchange(exchange, server, assertion))
      },
      (thrown: unknown) => refuseExchange(exchange, asked, explained(toAppError(thrown), token), log),
    )
  }

  #forward(
    request: IncomingMessage,
    response: ServerResponse,
    server: string,
    assertion: string,
    sender = () => senderByAssertion(assertion),
  ): void {
    const { target, foreign, maxRequestBytes: maxBytes, room, log } = this.#options
    readExchange(
      request,
      response,
      { maxBytes, room, sender },
      {
        keptBack: () => foreign.names,
        onExchange: (exchange) => target(new RoutedExchange(exchange, server, assertion)),
        onFault: (error) => refuse(request, response, error, log),
      },
    )
  }
}

const NOT_BOUND =
  'a route assertion is accepted only from the client that it was issued to, over TLS with its certificate: connect with tsh mcp connect, or send an API token'

function explained(error: AppError, token: string | undefined): AppError {
  const isOurs = token !== undefined && isAssertion(token) && error.details?.['token'] !== 'foreign'
  return error.code === 'unauthenticated' && isOurs ? new AppError(error.code, NOT_BOUND, { cause: error }) : error
}

/** The server that a path names, or undefined when it names none. */
export function findMcpServer(path: string): string | undefined {
  const endpoint = findMcpEndpoint(path)
  if (endpoint?.type === 'app') return endpoint.name
  const database = findRawDatabase(path)
  return database === undefined ? undefined : databaseServerName(database)
}

/** The same form as an agent's refusal: HTTP status, and a JSON-RPC error that every client can show. */
export function refuse(request: IncomingMessage, response: ServerResponse, error: AppError, log: Logger): void {
  if (error.code === 'internal') log.error('MCP request failed', { error, ...error.details })
  if (response.headersSent || response.destroyed) return
  const { status, headers, body } = renderRefusal(request, error)
  response.writeHead(status, headers)
  response.end(body)
}

/** The same for an exchange whose answer has not begun. */
export function refuseExchange({ answer }: HttpExchange, asked: Asked, error: AppError, log: Logger): void {
  if (error.code === 'internal') log.error('MCP request failed', { error, ...error.details })
  const { status, headers, body } = renderRefusal(asked, error)
  answer.head(status, headers)
  answer.end(body)
}

function renderRefusal(asked: Asked, error: AppError): { status: number; headers: Record<string, string>; body: Buffer } {
  const { http, rpc } = error.details ?? {}
  const status = typeof http === 'number' ? http : CODES[error.code].http
  const body = JSON.stringify({
    jsonrpc: '2.0',
    id: null,
    error: { code: typeof rpc === 'number' ? rpc : CODES[error.code].rpc, message: error.message },
  })
  const challenge = challengeFor(asked, status, error)
  const headers = {
    'content-type': 'application/json',
    'cache-control': 'no-store',
    'sallyport-error-origin': 'gateway',
    ...(challenge !== undefined && { 'www-authenticate': challenge }),
    ...(status === 413 && { connection: 'close' }),
  }
  return { status, headers, body: Buffer.from(body) }
}

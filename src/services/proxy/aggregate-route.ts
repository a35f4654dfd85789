import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ApiClient } from '../../client/call.ts'
import { AppError, toAppError } from '../../lib/errors.ts'
import type { HttpExchange } from '../../lib/http-exchange.ts'
import type { Ids } from '../../lib/ids.ts'
import type { Logger } from '../../lib/log.ts'
import { AggregateEndpoint } from '../../mcp/aggregate/endpoint.ts'
import { findRequestId } from '../../mcp/message.ts'
import { Outlet } from '../../mcp/outlet.ts'
import { nameSchema } from '../../resources/envelope.ts'
import type { ResourceFeed } from '../../resources/feed.ts'
import type { McpSet } from '../../resources/mcp-set.ts'
import type { ExchangeTarget } from '../../tunnel/exchange.ts'
import { AggregateCallers } from './aggregate-callers.ts'
import { createView } from './aggregate-view.ts'
import { AggregateWatch } from './aggregate-watch.ts'
import type { Assertions } from './assertions.ts'
import { ExposedNames } from './exposed-names.ts'
import { bearerOf, decode, isAssertion, refuse } from './mcp-route.ts'
import { readExchange } from './node-exchange.ts'

export interface AggregateOptions {
  assertions: Assertions
  /** As for assertions: a client that calls with the caller's own credential. */
  clientFor(token: string, remoteAddress: string): ApiClient
  /** The Auth Service with the proxy's own identity, which may give names and nothing else here. */
  api: ApiClient
  feed: ResourceFeed
  target: ExchangeTarget
  maxRequestBytes: number
  /** Of this program. */
  version: string
  now: () => number
  ids: Ids
  /** 32 bytes that seal cursors. */
  key: Uint8Array
  log: Logger
}

const PATH = /^\/mcp(?:\/sets\/([^/?#]+))?\/?$/
const SWEEP_MS = 1000

/** What a path names: all servers, or the set of that name; undefined when it is neither. */
export function findAggregate(path: string): { set: string | undefined } | undefined {
  const match = PATH.exec(path)
  if (!match) return undefined
  const [, encoded] = match
  if (encoded === undefined) return { set: undefined }
  const set = decode(encoded)
  return nameSchema.safeParse(set).success ? { set } : undefined
}

/**
 * All MCP servers a caller may use as one, at `/mcp` and `/mcp/sets/NAME`. It decides nothing about access: every message goes to the
 * agent in front of its server, with the caller's route assertion for that server alone.
 */
export class Aggregate {
  readonly #options: AggregateOptions
  readonly #callers: AggregateCallers
  readonly #names: ExposedNames
  readonly #endpoint: AggregateEndpoint
  readonly #watch: AggregateWatch
  readonly #sweeping: NodeJS.Timeout

  constructor(options: AggregateOptions) {
    const { version, now, ids, key, log, feed } = options
    this.#options = options
    this.#callers = new AggregateCallers(options)
    this.#names = new ExposedNames(options.api)
    this.#endpoint = new AggregateEndpoint({ name: 'sallyport', version, now, ids, key, log })
    this.#watch = new AggregateWatch({ endpoint: this.#endpoint, callers: this.#callers, feed, log })
    this.#sweeping = setInterval(() => this.#endpoint.sweep(), SWEEP_MS).unref()
  }

  /** Answers a request of an MCP client; never throws. */
  async serve(request: IncomingMessage, response: ServerResponse, set: string | undefined): Promise<void> {
    try {
      const token = bearerOf(request)
      if (isAssertion(token))
        throw new AppError('unauthenticated', 'this URL takes API tokens: with a certificate use tsh mcp connect NAME, a server at a time')
      const remoteAddress = request.socket.remoteAddress ?? ''
      const current = () => this.#callers.get(token, remoteAddress)
      const caller = await current()
      const view = createView({
        caller,
        current,
        refusal: () => this.#callers.refusalOf(caller.owner),
        set: set === undefined ? undefined : this.#getSet(set),
        serve: (server) => (exchange) => void this.#forward(exchange, token, server),
        names: this.#names,
      })
      const { promise, resolve, reject } = Promise.withResolvers<HttpExchange>()
      readExchange(request, response, this.#options.maxRequestBytes, { onExchange: resolve, onFault: reject })
      await this.#endpoint.serve(await promise, view)
    } catch (thrown) {
      refuse(response, toAppError(thrown), this.#options.log)
    }
  }

  /** Says who calls to the agent in front of one server, and nothing to any other. */
  async #forward(exchange: HttpExchange, token: string, server: string): Promise<void> {
    const { assertions, target, log } = this.#options
    try {
      target({ ...exchange, server, assertion: await assertions.get(token, server, exchange.remoteAddress) })
    } catch (thrown) {
      const error = toAppError(thrown)
      if (error.code === 'internal') log.error('MCP request failed', { error, server, ...error.details })
      await new Outlet(exchange, {}).fail(error, findRequestId(exchange.body))
    }
  }

  #getSet(name: string): McpSet {
    const set = this.#options.feed.find('mcp_set', name)
    if (!set) throw new AppError('not_found', `MCP set "${name}" not found`)
    return set
  }

  /** Ends every session and stream. */
  async close(): Promise<void> {
    clearInterval(this.#sweeping)
    this.#watch.close()
    await this.#endpoint.close()
    this.#callers.close()
  }
}

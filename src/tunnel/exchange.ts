import type { HttpExchange } from '../lib/http-exchange.ts'

/**
 * What travels between the Proxy Service and an agent: one HTTP request of an MCP client and its answer.
 * In one process the proxy hands it over by a call; between machines the same exchange is a stream of the tunnel.
 * The proxy has taken `authorization`, `cookie` and everything hop-by-hop out of the headers.
 */
export interface Exchange extends HttpExchange {
  /** The MCP server the client named. */
  server: string
  /** Route assertion: who calls, valid for this server only. The agent believes nothing else. */
  assertion: string
}

/** Something that answers exchanges: the agent itself, or the proxy's end of a tunnel to it. */
export type ExchangeTarget = (exchange: Exchange) => void

import { toAbortSignal } from '../../src/lib/stopping.ts'
import type { Outgoing, Reply, Upstream, UpstreamSession } from '../../src/mcp/upstream/upstream.ts'

export type Era = 'legacy' | 'modern'

/** How the fake answers a request; `signal` fires when nobody wants the answer any more. */
export type EraScript = (message: Outgoing, signal: AbortSignal) => Reply | Promise<Reply>

/** An MCP server in memory that answers sessions of each era by a script of its own. */
export interface EraUpstream extends Upstream {
  /** Requests and notifications that arrived, oldest first: era, method and parsed message. */
  arrived: { era: Era; message: Record<string, unknown>; headers: Readonly<Record<string, string>> }[]
  /** Sessions opened and not closed. */
  openCount: Record<Era, number>
  /** Ends the last session from the server's side. */
  exit(reason: string): void
}

export function createEraUpstream(scripts: Record<Era, EraScript>): EraUpstream {
  const upstream: EraUpstream = {
    arrived: [],
    openCount: { legacy: 0, modern: 0 },
    exit: () => undefined,
    async open({ era }) {
      upstream.openCount[era] += 1
      const ended = Promise.withResolvers<string>()
      upstream.exit = ended.resolve
      let isClosed = false
      const session: UpstreamSession = {
        ended: ended.promise,
        externalId: undefined,
        async send(message, signal) {
          // Whoever sends has rendered it as one JSON object.
          const parsed = JSON.parse(message.bytes.toString('utf8')) as Record<string, unknown>
          upstream.arrived.push({ era, message: parsed, headers: message.headers })
          return message.kind === 'request' ? scripts[era](message, toAbortSignal(signal)) : { kind: 'accepted' }
        },
        async listen() {
          return { kind: 'refused', status: 405, bytes: Buffer.alloc(0), contentType: '' }
        },
        async close() {
          if (!isClosed) upstream.openCount[era] -= 1
          isClosed = true
        },
      }
      return session
    },
    stderrTail: () => [],
    close: () => Promise.resolve(),
  }
  return upstream
}

/** A JSON-RPC error as the answer. */
export function rpcError(message: Outgoing, code: number, data?: unknown): Reply {
  const error = JSON.stringify({ code, message: `error ${code}`, ...(data !== undefined && { data }) })
  return { kind: 'message', bytes: Buffer.from(`{"jsonrpc":"2.0","id":${message.id},"error":${error}}`) }
}

/** An HTTP error with this body. */
export function httpError(status: number, body = ''): Reply {
  return { kind: 'refused', status, bytes: Buffer.from(body), contentType: 'application/json' }
}

/** The result of `server/discover` of a server with everything. */
export const DISCOVERED = JSON.stringify({
  supportedVersions: ['2026-07-28'],
  capabilities: {
    tools: { listChanged: true },
    resources: { subscribe: true, listChanged: true },
    logging: {},
    extensions: { 'io.modelcontextprotocol/tasks': {}, 'io.example/x': {} },
  },
  instructions: 'how to use it',
  resultType: 'complete',
  ttlMs: 1000,
  cacheScope: 'public',
  _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'modern', version: '3' } },
})

import type { Origin } from '../lib/errors.ts'
import type { Count, Histogram, Metrics } from '../lib/metrics.ts'
import { findMethod } from './methods.ts'

/** How a request that was sent ended: as it should, with an error the tool reports, with a JSON-RPC error of the server, or without an answer. */
export type CallOutcome = 'success' | 'tool_error' | 'rpc_error' | 'unanswered'

/** What is counted about MCP traffic. Optional wherever it is passed: without it nothing is counted. */
export interface McpMetrics {
  /** The counters of one server; ask once and keep them. */
  of(server: string): ServerMetrics
}

export interface ServerMetrics {
  /** A conversation with the server began. */
  opened(): void
  closed(): void
  /** A request that was sent is over. `seconds` is absent for methods whose beginning is not recorded, `origin` when nobody knows whose fault it was. */
  ended(method: string, outcome: CallOutcome, bytes: number, seconds: number | undefined, origin: Origin | undefined): void
  /** Something was refused; `kind` is that of the decision, else the code of the error. */
  denied(kind: string): void
}

const MAX_SERVERS = 500
/** Seconds; the gateway itself takes well below the first. */
const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]
/** For what is no method of this gateway, and for servers beyond the first so many. */
const OTHER = 'other'

export function createMcpMetrics(metrics: Metrics): McpMetrics {
  const families = createFamilies(metrics)
  const servers = new Map<string, ServerMetrics>()
  const open = new Map<string, number>()
  metrics.gauge(
    {
      name: 'sallyport_mcp_open_conversations',
      help: 'MCP sessions, or callers of the sessionless revisions, that are open.',
      labels: ['server'],
    },
    () => [...open].map(([server, count]) => [[server], count] as const),
  )
  return {
    of(named) {
      const server = servers.has(named) || servers.size < MAX_SERVERS ? named : OTHER
      const known = servers.get(server)
      if (known) return known
      const made = createServer(server, families, (change) => open.set(server, (open.get(server) ?? 0) + change))
      servers.set(server, made)
      return made
    },
  }
}

type Families = ReturnType<typeof createFamilies>

function createFamilies(metrics: Metrics) {
  // One series a server, method and outcome: as many as there can be, so that no server's are lost in "other".
  const maxSeries = 50_000
  return {
    calls: metrics.counter({
      name: 'sallyport_mcp_requests_total',
      help: 'Requests that were sent to MCP servers, by how they ended.',
      labels: ['server', 'method', 'outcome'],
      maxSeries,
    }),
    bytes: metrics.counter({
      name: 'sallyport_mcp_response_bytes_total',
      help: 'Bytes of answers that reached clients.',
      labels: ['server'],
    }),
    latency: metrics.histogram({
      name: 'sallyport_mcp_request_duration_seconds',
      help: 'From the record of a request to the record of its end, for methods that are always recorded.',
      labels: ['server'],
      buckets: BUCKETS,
    }),
    denials: metrics.counter({
      name: 'sallyport_mcp_denials_total',
      help: 'Messages and HTTP requests that were refused, by kind of decision or code of error.',
      labels: ['server', 'kind'],
      maxSeries,
    }),
    failures: metrics.counter({
      name: 'sallyport_mcp_failures_total',
      help: 'Requests that failed after they were allowed, by whose failure it was.',
      labels: ['server', 'origin'],
      maxSeries,
    }),
  }
}

function createServer(server: string, families: Families, count: (change: number) => void): ServerMetrics {
  const bytesOut: Count = families.bytes(server)
  const latency: Histogram = families.latency(server)
  const calls = new Map<string, Partial<Record<CallOutcome, Count>>>()
  const callsOf = (method: string, outcome: CallOutcome): Count => {
    const known = calls.get(method)?.[outcome]
    if (known) return known
    const counter = families.calls(server, findMethod(method) ? method : OTHER, outcome)
    // Methods that pass by role have names of callers' choosing: those are looked up each time.
    if (findMethod(method)) calls.set(method, { ...calls.get(method), [outcome]: counter })
    return counter
  }
  return {
    opened: () => count(1),
    closed: () => count(-1),
    ended: (method, outcome, bytes, seconds, origin) => {
      callsOf(method, outcome).value += 1
      bytesOut.value += bytes
      if (seconds !== undefined) latency.observe(seconds)
      if (outcome === 'rpc_error' || outcome === 'unanswered') families.failures(server, origin ?? 'unknown').value += 1
    },
    denied: (kind) => {
      families.denials(server, kind).value += 1
    },
  }
}

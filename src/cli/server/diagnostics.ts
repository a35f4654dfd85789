import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { MAX_JOURNAL_BYTES, measureDisk } from '../../audit/journal-room.ts'
import type { Logger } from '../../lib/log.ts'
import { checkHost, isLoopbackHost } from '../../lib/loopback.ts'
import { type Listener, startListener } from '../../lib/listener.ts'
import { createMetrics, type Metrics, METRICS_CONTENT_TYPE } from '../../lib/metrics.ts'

export interface Diagnostics {
  metrics: Metrics
  address: { host: string; port: number }
  /** What /readyz says from now on. */
  setState(state: State): void
  close(): Promise<void>
}

type State = 'starting' | 'ok' | 'stopping'

/**
 * Serves /metrics, /healthz and /readyz by plain HTTP, on an address of its own: whoever reaches it may read them, and nothing else is there.
 * @throws AppError failed_precondition when the address cannot be taken.
 */
export async function startDiagnostics(address: { host: string; port: number }, { log }: { log: Logger }): Promise<Diagnostics> {
  const metrics = createMetrics()
  const loop = addProcessMetrics(metrics)
  let state: State = 'starting'
  const server = createServer({ headersTimeout: 10_000, requestTimeout: 10_000, maxHeaderSize: 16 * 1024 }, (request, response) => {
    answer(request, response, { host: address.host, log }, (path) => {
      if (path === '/metrics') return { status: 200, type: METRICS_CONTENT_TYPE, body: metrics.render() }
      if (path === '/healthz') return json(200, 'ok')
      if (path === '/readyz') return json(state === 'ok' ? 200 : 503, state)
      return json(404, 'not found: /metrics, /healthz and /readyz are here')
    })
  })
  const listener: Listener = await startListener({
    setting: '--diag-addr, or diag_addr of the configuration file',
    ...address,
    servers: {},
    defaultServer: server,
    allowPlain: () => true,
    maxConnections: 64,
    onFault: (error, remoteAddress) => log.debug('diagnostics: connection fault', { error: error.message, remoteAddress }),
  })
  return {
    metrics,
    address: listener.address(),
    setState: (next) => void (state = next),
    close: async () => {
      loop.disable()
      await listener.close()
    },
  }
}

interface Answer {
  status: number
  type: string
  body: string
}

function json(status: number, text: string): Answer {
  return { status, type: 'application/json', body: JSON.stringify({ status: text }) }
}

/** On loopback only requests that name loopback are answered, against pages that point a name of their own at it (DNS rebinding). */
function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { host, log }: { host: string; log: Logger },
  find: (path: string) => Answer,
): void {
  const { method, url = '/', headers } = request
  const isMeant = !isLoopbackHost(host) || checkHost(headers.host, ['localhost'])
  const isRead = method === 'GET' || method === 'HEAD'
  const refusal = isMeant ? json(405, 'only GET is served here') : json(403, 'this Host is not served here')
  const { status, type, body } = isMeant && isRead ? attempt(() => find(url.replace(/\?.*$/s, '')), log) : refusal
  response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' })
  response.end(method === 'HEAD' ? undefined : body)
}

/** A number that cannot be read must not end the process. */
function attempt(find: () => Answer, log: Logger): Answer {
  try {
    return find()
  } catch (thrown) {
    log.error('diagnostics: a metric could not be read', { error: String(thrown) })
    return json(500, 'a metric could not be read: see the log')
  }
}

const LOOP_RESOLUTION_MS = 10

/** Names are those that Prometheus' client libraries use, so that ready-made dashboards find them. */
function addProcessMetrics(metrics: Metrics): { disable(): boolean } {
  const loop = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS })
  loop.enable()
  const startedAt = Date.now() / 1000 - process.uptime()
  metrics.gauge({ name: 'process_start_time_seconds', help: 'When the process started, in seconds since 1970.' }, () => startedAt)
  metrics.gauge({ name: 'process_resident_memory_bytes', help: 'Memory of the process that is in RAM.' }, () => process.memoryUsage.rss())
  metrics.gauge({ name: 'process_cpu_seconds_total', help: 'User and system CPU time.', isCounter: true }, () => {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1e6
  })
  metrics.gauge(
    { name: 'nodejs_eventloop_lag_seconds', help: 'How late the event loop was since the last look.', labels: ['quantile'] },
    () => {
      const samples = [50, 99, 100].map((percentile) => [[String(percentile / 100)], lagOf(loop.percentile(percentile))] as const)
      loop.reset()
      return samples
    },
  )
  return loop
}

/** Node measures from one look to the next, so that a loop without any lag has the time between them. */
function lagOf(nanoseconds: number): number {
  return Math.max(0, nanoseconds / 1e9 - LOOP_RESOLUTION_MS / 1000)
}

/** What `sallyport_mcp_quarantined` counts: items of a list that are left out, or 1 for a list, or a server as a whole, that cannot be had. */
export interface Quarantined {
  server: string
  /** `initialize`, a list such as `tools/list`, or `tools/list items`. */
  topic: string
  count: number
}

/** What clients of the URL of all servers do not get, since it is broken. */
export function addQuarantineMetrics(metrics: Metrics, list: () => readonly Quarantined[]): void {
  metrics.gauge(
    {
      name: 'sallyport_mcp_quarantined',
      help: 'What is left out at the URL of all MCP servers because it is broken: "initialize", a list, or so many items of a list.',
      labels: ['server', 'what'],
    },
    () => list().map(({ server, topic, count }) => [[server, topic], count] as const),
  )
}

/** How much the audit journal of an agent holds: what has not reached the store yet, and the rest of the last segment. */
export function addJournalMetrics(metrics: Metrics, directory: string): void {
  metrics.gauge(
    { name: 'sallyport_audit_journal_bytes', help: 'Size of the local audit journal, which empties as the store takes events.' },
    () => measureDisk(directory).bytes,
  )
  metrics.gauge(
    { name: 'sallyport_audit_journal_max_bytes', help: 'What the local audit journal may hold before the gateway refuses calls.' },
    () => MAX_JOURNAL_BYTES,
  )
}

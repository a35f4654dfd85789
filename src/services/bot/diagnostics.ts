import { createServer } from 'node:http'
import { checkHost, isLoopbackHost } from '../../lib/loopback.ts'
import { startListener } from '../../lib/listener.ts'
import type { Logger } from '../../lib/log.ts'
import { METRICS_CONTENT_TYPE } from '../../lib/metrics.ts'
import type { Metrics } from '../../lib/metrics.ts'
import type { Health, HealthBoard } from './health.ts'

export interface Diagnostics {
  address: { host: string; port: number }
  close(): Promise<void>
}

/**
 * Serves /readyz, /readyz/SERVICE, /livez and /metrics by plain HTTP. Ready (200, else 503) is who renewed last with success.
 * @throws AppError failed_precondition when the address cannot be taken.
 */
export async function startDiagnostics(
  address: { host: string; port: number },
  { health, metrics, log }: { health: HealthBoard; metrics: Metrics; log: Logger },
): Promise<Diagnostics> {
  const server = createServer({ headersTimeout: 10_000, requestTimeout: 10_000, maxHeaderSize: 16 * 1024 }, (request, response) => {
    const { method, url = '/', headers } = request
    // Against pages that point a name of their own at loopback (DNS rebinding).
    const isMeant = !isLoopbackHost(address.host) || checkHost(headers.host, ['localhost'])
    const isRead = method === 'GET' || method === 'HEAD'
    const { status, type, body } = isMeant && isRead ? answer(url.replace(/\?.*$/s, ''), health, metrics) : refusal(isMeant)
    response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' })
    response.end(method === 'HEAD' ? undefined : body)
  })
  const listener = await startListener({
    setting: '--diag-addr, or diag_addr of the configuration file',
    ...address,
    servers: {},
    defaultServer: server,
    allowPlain: () => true,
    maxConnections: 64,
    onFault: (error, remoteAddress) => log.debug('diagnostics: connection fault', { error: error.message, remoteAddress }),
  })
  return { address: listener.address(), close: () => listener.close() }
}

interface Answer {
  status: number
  type: string
  body: string
}

function answer(path: string, health: HealthBoard, metrics: Metrics): Answer {
  if (path === '/livez') return json(200, { status: 'healthy' })
  if (path === '/metrics') return { status: 200, type: METRICS_CONTENT_TYPE, body: metrics.render() }
  if (path === '/readyz') {
    const ready = health.isReady()
    const services = Object.fromEntries(health.list().map(([name, each]) => [name, render(each)]))
    return json(ready ? 200 : 503, { status: ready ? 'healthy' : 'unhealthy', services })
  }
  const found = path.startsWith('/readyz/') ? health.find(path.slice('/readyz/'.length)) : undefined
  if (found) return json(found.status === 'healthy' ? 200 : 503, render(found))
  return json(404, { status: 'not found: /readyz, /readyz/SERVICE, /livez and /metrics are here' })
}

function render({ status, reason, expiresAt }: Health) {
  return { status, ...(reason !== undefined && { reason }), ...(expiresAt !== undefined && { expires: new Date(expiresAt).toISOString() }) }
}

function refusal(isMeant: boolean): Answer {
  return isMeant ? json(405, { status: 'only GET is served here' }) : json(403, { status: 'this Host is not served here' })
}

function json(status: number, value: unknown): Answer {
  return { status, type: 'application/json', body: JSON.stringify(value) }
}

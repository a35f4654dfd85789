import { once } from 'node:events'
import type { Invocation } from '../../lib/command-rows.ts'
import { createLogger } from '../../lib/log.ts'
import { createRedactor } from '../../lib/redact.ts'
import { AppError } from '../../lib/errors.ts'
import { renderProxyAddress } from '../../client/proxy-address.ts'
import { startAgentHost } from './agent-host.ts'
import type { ProcessOptions } from './process-options.ts'
import { loadConfig } from './config.ts'
import { placeObjectsYoung } from './heap-placement.ts'
import { type Running, startRunning } from './running.ts'

/** The action of `sallyport start`: serves until it is interrupted. */
export async function start(invocation: Invocation, version: string): Promise<number> {
  const { io, signal } = invocation
  placeObjectsYoung()
  const config = await loadConfig({
    file: invocation.text('config'),
    dataDirectory: invocation.text('data-dir'),
    diagAddress: invocation.text('diag-addr'),
    join: { token: invocation.text('token'), caPin: invocation.text('ca-pin'), authServer: invocation.text('auth-server') },
    roles: invocation.text('roles'),
    env: io.env,
  })
  const redactor = createRedactor()
  const log = createLogger({ level: config.logLevel, redact: (text) => redactor.text(text) })
  const options = { config, env: io.env, log, now: Date.now, version, signal }
  if (config.auth.enabled || config.proxy.enabled) {
    const running = await unlessStopped(signal, startRunning(options))
    if (!running) return 0
    await serveUntil(signal, running, async () => {
      io.stdout.write(`${await renderWelcome(running, version, config.dataDirectory)}\n`)
    })
  } else await startAlone(options, signal, (text) => io.stdout.write(`${text}\n`))
  return 0 // a stop that was asked for is no failure
}

/** An agent without Auth Service and proxy, which are elsewhere. */
async function startAlone(options: ProcessOptions, signal: AbortSignal, write: (text: string) => void): Promise<void> {
  const { membership, agent, dataDirectory } = options.config
  if (!agent.enabled) throw new AppError('invalid_argument', 'no service is enabled: enable app_service, or auth_service and proxy_service')
  if (!membership)
    throw new AppError(
      'invalid_argument',
      'an agent alone has to know its cluster: set teleport.proxy_server to HOST:PORT of the proxy, or give --auth-server',
    )
  write(`Joining the cluster at ${renderProxyAddress(membership.proxy)}, data in ${dataDirectory}`)
  const host = await unlessStopped(signal, startAgentHost(options, membership, signal))
  if (!host) return
  await serveUntil(signal, host, async () => {
    write(`Sallyport ${options.version} is up: agent ${host.hostId} of the cluster ${host.clusterName}, serving the proxy ${host.proxy}`)
  })
}

/** Undefined when it failed since it was to stop before it was up. */
async function unlessStopped<T>(signal: AbortSignal, starting: Promise<T>): Promise<T | undefined> {
  return await starting.catch((thrown: unknown) => {
    if (signal.aborted) return undefined
    throw thrown
  })
}

/** Serves until the signal fires, then stops in good order. */
export async function serveUntil(
  signal: AbortSignal,
  running: Pick<Running, 'close' | 'killChildren'>,
  whenUp: () => Promise<void>,
): Promise<void> {
  const killChildren = (): void => running.killChildren()
  process.on('exit', killChildren)
  // Without a listener that keeps the loop alive the process would end here: the server sockets do that.
  try {
    await whenUp()
    if (!signal.aborted) await once(signal, 'abort')
  } finally {
    await running.close()
    process.off('exit', killChildren)
  }
}

async function renderWelcome(running: Running, version: string, dataDirectory: string): Promise<string> {
  const lines = [
    `Sallyport ${version} is up: cluster ${running.auth.clusterName}, listening on ${running.address.host}:${running.address.port}, data in ${dataDirectory}`,
  ]
  const { host, port } = running.diagnostics ?? { host: '', port: 0 }
  if (running.diagnostics)
    lines.push(`Metrics and health are at http://${host.includes(':') ? `[${host}]` : host}:${port}/metrics, /healthz and /readyz`)
  if (!(await running.auth.hasUsers()))
    lines.push(
      'There are no users yet. Make the first one with:',
      `  tctl users add NAME --roles=editor,mcp-user --data-dir=${dataDirectory}`,
    )
  return lines.join('\n')
}

import { once } from 'node:events'
import type { Invocation } from '../../lib/command-rows.ts'
import { createLogger } from '../../lib/log.ts'
import { createRedactor } from '../../lib/redact.ts'
import { loadConfig } from './config.ts'
import { type Running, startRunning } from './running.ts'

/** The action of `sallyport start`: serves until it is interrupted. */
export async function start(invocation: Invocation, version: string): Promise<number> {
  const { io, signal } = invocation
  const config = await loadConfig({
    file: invocation.text('config'),
    dataDirectory: invocation.text('data-dir'),
    diagAddress: invocation.text('diag-addr'),
    env: io.env,
  })
  const redactor = createRedactor()
  const log = createLogger({ level: config.logLevel, redact: (text) => redactor.text(text) })
  const running = await startRunning({ config, env: io.env, log, now: Date.now, version })
  await serveUntil(signal, running, async () => {
    io.stdout.write(`${await renderWelcome(running, version, config.dataDirectory)}\n`)
  })
  return 0 // a stop that was asked for is no failure
}

/** Serves until the signal fires, then stops in good order. */
export async function serveUntil(signal: AbortSignal, running: Running, whenUp: () => Promise<void>): Promise<void> {
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

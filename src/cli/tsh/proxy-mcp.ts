import { createMcpEndpoint } from '../../client/mcp-endpoint.ts'
import { startMcpForwarder } from '../../client/mcp-forwarder.ts'
import { AppError } from '../../lib/errors.ts'
import { sanitizeTerminal } from '../../lib/output.ts'
import type { Context } from './context.ts'
import { parseHeaders } from './headers.ts'
import { selectEndpoint } from './select-endpoint.ts'

/** Runs until it is interrupted. */
export async function run(context: Context): Promise<number> {
  const { call, io, now } = context
  const { place, title } = selectEndpoint(call)
  // Who has no credentials hears of it at once, not from an MCP client.
  const connection = await context.connect()
  connection.close()
  const endpoint = createMcpEndpoint({ ...place, open: context.connect, headers: parseHeaders(call.list('header')), now })
  const forwarder = await startMcpForwarder({
    endpoint,
    listen: { host: '127.0.0.1', port: parsePort(call.text('port')) },
    log: (line) => void io.stderr.write(`${sanitizeTerminal(line)}\n`),
  })
  io.stdout.write(`Proxying connections to ${sanitizeTerminal(title)} on http://127.0.0.1:${forwarder.port}/mcp\n`)
  await interrupted(call.signal)
  await forwarder.close()
  return 0
}

/** A port of this machine; 0 takes any that is free. */
export function parsePort(text: string | undefined): number {
  if (text === undefined) return 0
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN
  if (!(port <= 65_535)) throw new AppError('invalid_argument', `--port takes a port of this machine, such as 8000, not "${text}"`)
  return port
}

/** Settles when the person has had enough. */
export function interrupted(signal: AbortSignal): Promise<void> {
  return new Promise((fulfil) => {
    if (signal.aborted) fulfil()
    else signal.addEventListener('abort', () => fulfil(), { once: true })
  })
}

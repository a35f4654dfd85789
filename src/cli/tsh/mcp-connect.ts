import { createMcpEndpoint } from '../../client/mcp-endpoint.ts'
import { createAnswerMemory } from '../../client/mcp-memory.ts'
import { runStdioBridge } from '../../client/stdio-bridge.ts'
import { toAppError } from '../../lib/errors.ts'
import { sanitizeTerminal } from '../../lib/output.ts'
import type { Context } from './context.ts'
import { parseHeaders } from './headers.ts'
import { selectEndpoint } from './select-endpoint.ts'

/** Standard output carries MCP messages and nothing else. */
export async function run(context: Context): Promise<number> {
  const { call, io, now } = context
  const { place } = selectEndpoint(call)
  const endpoint = createMcpEndpoint({ ...place, open: context.connect, headers: parseHeaders(call.list('header')), now })
  const log = (line: string): void => void io.stderr.write(`${sanitizeTerminal(line)}\n`)
  const folder = await context.findAnswerFolder().catch((thrown: unknown) => log(`answers are not kept: ${toAppError(thrown).message}`))
  return await runStdioBridge({
    input: io.stdin,
    output: io.stdout,
    signal: call.signal,
    endpoint,
    autoReconnect: call.flag('auto-reconnect'),
    log,
    memory: folder ? createAnswerMemory({ folder, server: place.server ?? place.path, log }) : undefined,
  })
}

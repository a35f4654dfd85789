import { createMcpEndpoint } from '../../client/mcp-endpoint.ts'
import { runMcpBridge } from '../../client/mcp-bridge.ts'
import { createAnswerMemory } from '../../client/mcp-memory.ts'
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
  const input = io.stdin
  call.signal.addEventListener('abort', () => input.destroy(), { once: true })
  const log = (line: string): void => void io.stderr.write(`${sanitizeTerminal(line)}\n`)
  const folder = await context.findAnswerFolder().catch((thrown: unknown) => log(`answers are not kept: ${toAppError(thrown).message}`))
  const running = runMcpBridge({
    input: untilDestroyed(input, call.signal),
    endpoint,
    autoReconnect: call.flag('auto-reconnect'),
    log,
    wait: pause,
    memory: folder ? createAnswerMemory({ folder, server: place.server ?? place.path, log }) : undefined,
    write: (line) =>
      new Promise((fulfil) => {
        io.stdout.cork()
        io.stdout.write(line)
        if (io.stdout.write('\n')) fulfil()
        else io.stdout.once('drain', () => fulfil())
        io.stdout.uncork()
      }),
  })
  await running.finally(() => input.destroy())
  return call.signal.aborted ? 130 : 0
}

/** Ends early, without an error, when the signal fires. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((fulfil) => {
    const end = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      fulfil()
    }
    const timer = setTimeout(end, ms)
    signal.addEventListener('abort', end, { once: true })
  })
}

/** An interruption is an end of input, not a failure. */
async function* untilDestroyed(input: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  try {
    yield* input
  } catch (thrown) {
    if (!signal.aborted) throw thrown
  }
}

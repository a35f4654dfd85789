import type { Readable, Writable } from 'node:stream'
import { pause } from '../lib/pause.ts'
import { type BridgeOptions, runMcpBridge } from './mcp-bridge.ts'

export interface StdioBridgeOptions extends Omit<BridgeOptions, 'input' | 'write' | 'wait' | 'interrupted'> {
  /** The MCP client; read no more once the signal fires. */
  input: Readable
  /** Carries MCP messages and nothing else. */
  output: Writable
  signal: AbortSignal
}

/** Serves the MCP client that started this process, until its input ends or the signal fires: the exit code, 130 for the latter. */
export async function runStdioBridge({ input, output, signal, ...options }: StdioBridgeOptions): Promise<number> {
  signal.addEventListener('abort', () => input.destroy(), { once: true })
  const write: BridgeOptions['write'] = (line) =>
    new Promise((fulfil) => {
      output.cork()
      output.write(line)
      if (output.write('\n')) fulfil()
      else output.once('drain', () => fulfil())
      output.uncork()
    })
  const running = runMcpBridge({ ...options, input: untilDestroyed(input, signal), wait: pause, write, interrupted: signal })
  await running.finally(() => input.destroy())
  return signal.aborted ? 130 : 0
}

/** An interruption is an end of input, not a failure. */
async function* untilDestroyed(input: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  try {
    yield* input
  } catch (thrown) {
    if (!signal.aborted) throw thrown
  }
}

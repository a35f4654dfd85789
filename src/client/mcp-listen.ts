import type { IncomingMessage } from 'node:http'
import { AppError } from '../lib/errors.ts'
import { explain } from './mcp-errors.ts'
import { deliver } from './mcp-stream.ts'

export const MAX_BACKOFF_MS = 30_000

export interface ListenOptions {
  /** Opens the GET stream, behind an event when one is named. */
  open(lastEventId: string | undefined, signal: AbortSignal): Promise<IncomingMessage>
  write: (line: Uint8Array) => Promise<void>
  wait: (ms: number, signal: AbortSignal) => Promise<void>
  log: (line: string) => void
  /** False: a lost connection is not opened again. */
  autoReconnect: boolean
  /** Fires when the bridge ends. */
  closing: AbortSignal
}

/**
 * Opens a subscription (`subscriptions/listen`, 2026-07-28), again and again while the proxy is away: clients that are refused a few times
 * in a second, while it restarts, give up the server for good.
 * @param onAway told of each time it is not there.
 */
export async function openPatiently<T>(
  open: () => Promise<T>,
  { wait, signal, onAway }: { wait: ListenOptions['wait']; signal: AbortSignal; onAway: () => void },
): Promise<T> {
  for (let failures = 0; ; failures++) {
    try {
      return await open()
    } catch (thrown) {
      if (signal.aborted || !isNetworkFault(thrown)) throw thrown
      onAway()
      await wait(Math.min(500 * 2 ** failures, MAX_BACKOFF_MS), signal)
    }
  }
}

/** The stream of server messages that belong to no request (Streamable HTTP, GET), kept open where the server offers one. */
export class ListenStream {
  readonly #options: ListenOptions
  #current: AbortController | undefined

  constructor(options: ListenOptions) {
    this.#options = options
  }

  /** Begins anew; what was open before ends. */
  start(): void {
    this.stop()
    const stop = new AbortController()
    this.#current = stop
    const signal = AbortSignal.any([stop.signal, this.#options.closing])
    this.#keepOpen(signal).catch((thrown: unknown) => {
      if (!signal.aborted) this.#options.log(`no stream of server messages: ${explain(thrown).message}`)
    })
  }

  stop(): void {
    this.#current?.abort()
  }

  async #keepOpen(signal: AbortSignal): Promise<void> {
    const { open, write, wait, autoReconnect } = this.#options
    let lastEventId: string | undefined
    for (let failures = 0; !signal.aborted;) {
      let retryMs: number | undefined
      try {
        const answer = await open(lastEventId, signal)
        if (answer.statusCode !== 200) return void answer.resume()
        failures = 0
        const delivered = await deliver(answer, async (line) => await write(line))
        lastEventId = delivered.lastEventId ?? lastEventId
        retryMs = delivered.retryMs
      } catch (thrown) {
        if (!autoReconnect || !isNetworkFault(thrown)) throw thrown
        failures++
      }
      await wait(Math.min(retryMs ?? 1000 * 2 ** failures, MAX_BACKOFF_MS), signal)
    }
  }
}

export function isNetworkFault(thrown: unknown): thrown is AppError {
  return thrown instanceof AppError && thrown.details?.['network'] === true
}

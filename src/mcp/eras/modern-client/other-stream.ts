import { setTimeout as pause } from 'node:timers/promises'
import type { Logger } from '../../../lib/log.ts'
import type { Fields } from '../../message.ts'
import type { UpstreamSession } from '../../upstream/upstream.ts'
import { saidIn } from '../compose.ts'

export interface OtherStreamOptions {
  inner: UpstreamSession
  server: string
  headers: Readonly<Record<string, string>>
  log: Logger
  signal: AbortSignal
  onMessage: (message: Fields) => void
}

/** Servers that send no headers before the first event are not waited for. */
const OPENING_MS = 500
const MAX_FAILURES = 10
const MAX_PAUSE_MS = 30_000

/**
 * Reads what a legacy server says outside of the streams that answer requests: everything but answers and progress over stdio, and the
 * GET stream over HTTP, which is opened again when it ends, unless the server has none.
 * `isOpen` settles when it is there, or will not be soon; it never rejects.
 */
export function openOtherStream(options: OtherStreamOptions): { isOpen: Promise<void> } {
  const opened = Promise.withResolvers<void>()
  const late = setTimeout(opened.resolve, OPENING_MS)
  const isOpen = opened.promise.finally(() => clearTimeout(late))
  void read(options, opened.resolve).finally(opened.resolve)
  return { isOpen }
}

async function read(options: OtherStreamOptions, onOpen: () => void): Promise<void> {
  const { inner, server, headers, log, signal, onMessage } = options
  for (let failures = 0; failures < MAX_FAILURES && !signal.aborted; failures++) {
    try {
      const reply = await inner.listen(headers, signal)
      onOpen()
      // It has none, or knows the session no more.
      if (reply.kind === 'refused') return
      for await (const { message } of saidIn(reply, server)) {
        failures = 0
        onMessage(message)
      }
    } catch (error) {
      if (signal.aborted) return
      log.debug('the stream of an MCP server broke', { server, error })
    }
    await pause(Math.min(MAX_PAUSE_MS, 500 * 2 ** failures), undefined, { ref: false, signal }).catch(() => undefined)
  }
}

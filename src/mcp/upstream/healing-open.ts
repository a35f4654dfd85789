import { setTimeout as sleep } from 'node:timers/promises'
import { AppError, toAppError } from '../../lib/errors.ts'
import { type Memory, readHandshake } from './healing-memory.ts'
import { exhaust } from './healing-signs.ts'
import type { UpstreamSession } from './upstream.ts'

export interface OpenAgainOptions {
  /** Name of the MCP server, for messages. */
  server: string
  /** Opens another session with the same server for the same caller. */
  open: () => Promise<UpstreamSession>
  memory: Memory
  /** Between attempts, while the server cannot be reached, in milliseconds. */
  pausesMs: readonly number[]
  closing: AbortSignal
}

/** Sixteen seconds: a server that was started again is there by then. */
export const PAUSES_MS: readonly number[] = [250, 500, 1000, 2000, 4000, 8000]
const HANDSHAKE_MS = 60_000

/**
 * Another session in place of one that was lost, in which the server was told what the client had told it. A server that cannot be reached is
 * waited for: its event stream breaks off the moment it goes down, seconds before it is back.
 * @throws AppError unavailable, with whose fault it is, when there is none to be had, or another than was agreed with the client.
 */
export async function openAgain(options: OpenAgainOptions): Promise<UpstreamSession> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await openOnce(options)
    } catch (thrown) {
      const error = toAppError(thrown)
      const pauseMs = options.pausesMs[attempt]
      if (pauseMs === undefined || error.origin !== 'upstream_unreachable' || options.closing.aborted) throw error
      await sleep(pauseMs, undefined, { signal: options.closing, ref: false })
    }
  }
}

async function openOnce({ server, open, memory, closing }: OpenAgainOptions): Promise<UpstreamSession> {
  const next = await open()
  try {
    await greet(next, memory, AbortSignal.any([closing, AbortSignal.timeout(HANDSHAKE_MS)]))
    return next
  } catch (thrown) {
    await next.close()
    const { message, origin } = toAppError(thrown)
    throw new AppError('unavailable', `the session with MCP server "${server}" was lost: ${message}`, { origin })
  }
}

async function greet(next: UpstreamSession, { initialize, agreed, afterInitialize }: Memory, signal: AbortSignal): Promise<void> {
  if (!initialize || !agreed) throw new AppError('internal', 'a session began again that had not begun')
  const renewed = await readHandshake(await next.send(initialize, signal))
  if (renewed.capabilities !== agreed.capabilities || renewed.revision !== agreed.revision)
    throw new AppError('unavailable', 'it came back with other capabilities: initialize again', { origin: 'upstream' })
  for (const message of afterInitialize()) {
    const reply = await next.send(message, signal)
    if (reply.kind === 'events') await exhaust(reply.events)
  }
}

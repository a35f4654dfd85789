import { AppError } from '../../lib/errors.ts'
import type { Timers } from '../../lib/timers.ts'

/**
 * The outcome of `run`, whose signal fires after `ms` milliseconds or with `outer`, whichever comes first.
 * @throws AppError deadline_exceeded or cancelled, even when `run` does not heed its signal.
 */
export async function within<T>(
  timers: Timers,
  ms: number,
  outer: AbortSignal | undefined,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const stopping = new AbortController()
  const { promise, reject } = Promise.withResolvers<never>()
  const stop = (error: AppError): void => {
    reject(error)
    stopping.abort()
  }
  const onGone = (): void => stop(new AppError('cancelled', 'the request was cancelled'))
  const cancelTimer = timers.after(ms, () =>
    stop(new AppError('deadline_exceeded', `the MCP server did not answer within ${Math.round(ms / 1000)} s`, { origin: 'upstream' })),
  )
  if (outer?.aborted === true) onGone()
  else outer?.addEventListener('abort', onGone, { once: true })
  try {
    return await Promise.race([run(stopping.signal), promise])
  } finally {
    cancelTimer()
    outer?.removeEventListener('abort', onGone)
  }
}

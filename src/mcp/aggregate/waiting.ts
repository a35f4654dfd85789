import { AppError } from '../../lib/errors.ts'

/** Waiting, as an argument. */
export interface Timers {
  /** Runs something once, `ms` milliseconds from now, unless the returned function is called before. */
  after(ms: number, run: () => void): () => void
}

/** Those of the machine; none keeps the process alive. */
export const realTimers: Timers = {
  after: (ms, run) => {
    const timer = setTimeout(run, ms).unref()
    return () => clearTimeout(timer)
  },
}

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

/** Resolves after `ms` milliseconds, or at once when the signal fires. */
export function pause(timers: Timers, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const done = (): void => {
      cancel()
      signal.removeEventListener('abort', done)
      resolve()
    }
    const cancel = timers.after(ms, done)
    signal.addEventListener('abort', done, { once: true })
  })
}

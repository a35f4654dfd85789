import { AppError } from './errors.ts'
import type { StopSignal } from './stopping.ts'
import type { Timers } from './timers.ts'

/** Waits; ends early, without an error, when the signal fires. Keeps the process alive, unless by timers that do not. */
export function pause(ms: number, signal: AbortSignal, timers: Timers = KEEPING_ALIVE): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((fulfil) => {
    let cancel = (): void => {}
    const end = (): void => {
      cancel()
      signal.removeEventListener('abort', end)
      fulfil()
    }
    signal.addEventListener('abort', end, { once: true })
    cancel = timers.after(ms, end)
  })
}

const KEEPING_ALIVE: Timers = {
  after: (ms, run) => {
    const timer = setTimeout(run, ms)
    return () => clearTimeout(timer)
  },
}

/** Settles as the promise does. @throws AppError cancelled, with these words, when the signal fires first. */
export async function orCancelled<T>(promise: Promise<T>, signal: StopSignal, words: string): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const onAbort = (): void => reject(new AppError('cancelled', words))
  if (signal.aborted) onAbort()
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

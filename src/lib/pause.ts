import { AppError } from './errors.ts'

/** Waits; ends early, without an error, when the signal fires. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((fulfil) => {
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      fulfil()
    }
    const timer = setTimeout(end, ms)
    signal.addEventListener('abort', end, { once: true })
  })
}

/** Settles as the promise does. @throws AppError cancelled, with these words, when the signal fires first. */
export async function orCancelled<T>(promise: Promise<T>, signal: AbortSignal, words: string): Promise<T> {
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

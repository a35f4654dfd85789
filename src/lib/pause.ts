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

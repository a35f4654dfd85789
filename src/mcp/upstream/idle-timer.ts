export interface IdleTimerOptions {
  /** Undefined: never. */
  ms: number | undefined
  /** Whether it is in use although nothing happens. */
  isBusy: () => boolean
  onIdle: () => void
}

/** Tells once when nothing has happened for so long. Being touched costs no timer. */
export function createIdleTimer({ ms, isBusy, onIdle }: IdleTimerOptions): { touch(): void; close(): void } {
  if (ms === undefined) return { touch: () => undefined, close: () => undefined }
  let isTouched = false
  let timer: NodeJS.Timeout | undefined
  const wait = (): void => {
    isTouched = false
    // A touch within a period makes it wait for another: it is idle after one period at least, and two at most.
    timer = setTimeout(() => (isTouched || isBusy() ? wait() : onIdle()), ms).unref()
  }
  wait()
  return { touch: () => void (isTouched = true), close: () => clearTimeout(timer) }
}

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

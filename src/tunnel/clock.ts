/** Time and waiting, as an argument. */
export interface Clock {
  /** Milliseconds of a clock that nobody sets and that never goes back. */
  now(): number
  /** Runs something once, `ms` milliseconds from now, unless the returned function is called before. */
  after(ms: number, run: () => void): () => void
}

/** That of the machine; a wait does not keep the process alive. */
export const realClock: Clock = {
  now: () => performance.now(),
  after: (ms, run) => {
    const timer = setTimeout(run, ms).unref()
    return () => clearTimeout(timer)
  },
}

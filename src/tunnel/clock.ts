import { realTimers, type Timers } from '../lib/timers.ts'

/** Time and waiting, as an argument. */
export interface Clock extends Timers {
  /** Milliseconds of a clock that nobody sets and that never goes back. */
  now(): number
}

/** That of the machine; a wait does not keep the process alive. */
export const realClock: Clock = { ...realTimers, now: () => performance.now() }

import { Budget } from './budget.ts'
import type { Clock } from './clock.ts'
import { TunnelFault } from './fault.ts'
import type { TunnelLimits } from './limits.ts'

/** Frames that carry nothing and may come although nothing was sent. */
const FREE_WINDOW_FRAMES = 1024
const PING_BURST = 64
const PINGS_PER_SECOND = 2
const MAX_GOAWAYS = 4

/** Counts the frames that cost this end more than the one that sends them. All throw TunnelFault flooded when it is enough. */
export class FloodGuard {
  readonly #clock: Clock
  readonly #pings: Budget
  readonly #cancels: Budget
  #windowFrames = 0
  #lateResets = 0
  #goaways = 0

  constructor(clock: Clock, limits: Pick<TunnelLimits, 'cancelBurst' | 'cancelsPerSecond'>) {
    this.#clock = clock
    this.#pings = new Budget(PING_BURST, PINGS_PER_SECOND, clock.now())
    this.#cancels = new Budget(limits.cancelBurst, limits.cancelsPerSecond, clock.now())
  }

  ping(): void {
    if (!this.#pings.take(this.#clock.now())) throw new TunnelFault('flooded', 'too many pings')
  }

  /** A reader widens a window at most once for each data frame, that of the stream and that of the tunnel. */
  window(dataFrames: number): void {
    if (++this.#windowFrames > FREE_WINDOW_FRAMES + 2 * dataFrames) throw new TunnelFault('flooded', 'too many window frames')
  }

  /** The reset of a stream that is over already: one for each stream may have been on its way. */
  lateReset(opened: number): void {
    if (++this.#lateResets > opened) throw new TunnelFault('flooded', 'more streams were reset than there are')
  }

  goaway(): void {
    if (++this.#goaways > MAX_GOAWAYS) throw new TunnelFault('flooded', 'goodbye is said too often')
  }

  /** A stream was begun for nothing. */
  cancelled(): void {
    this.#cancels.take(this.#clock.now())
  }

  /** Whether so few were that another may begin. */
  mayBegin(): boolean {
    return this.#cancels.has(this.#clock.now())
  }
}

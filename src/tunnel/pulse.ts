import type { Clock } from './clock.ts'
import { TunnelFault } from './fault.ts'
import type { TunnelLimits } from './limits.ts'

export interface PulseOptions {
  clock: Clock
  limits: Pick<TunnelLimits, 'helloMs' | 'pingEveryMs' | 'pingDeadlineMs'>
  ping(payload: Buffer): void
  /** Called at every beat, about once a second. */
  sweep(now: number): void
  fail(fault: TunnelFault): void
}

const BEAT_MS = 1000
/** A ping has to be answered in the end, whatever else comes. */
const MOST_DEADLINES = 6

/** Notices that the other end is gone or frozen, of which TCP may say nothing for hours. */
export class Pulse {
  readonly #options: PulseOptions
  readonly #beatMs: number
  #lastBeat: number
  #isGreeted = false
  readonly #startedAt: number
  /** Set by every frame, so that no frame asks for the time. */
  #isHeard = false
  #heardAt: number
  #lastPingAt: number
  #pings = 0
  /** The ping that was not answered yet. */
  #unanswered: Buffer | undefined
  #cancel: () => void

  constructor(options: PulseOptions) {
    const { clock, limits } = options
    this.#options = options
    this.#beatMs = Math.min(BEAT_MS, limits.pingEveryMs / 4, limits.pingDeadlineMs / 4)
    const now = clock.now()
    this.#startedAt = now
    this.#lastBeat = now
    this.#heardAt = now
    this.#lastPingAt = now
    this.#cancel = clock.after(this.#beatMs, () => this.#beat())
  }

  /** A frame came. */
  heard(): void {
    this.#isHeard = true
  }

  /** The first frame came. */
  greeted(): void {
    this.#isGreeted = true
  }

  /** @throws TunnelFault protocol for the answer to a ping that was not sent. */
  pong(payload: Buffer): void {
    if (!this.#unanswered?.equals(payload)) throw new TunnelFault('protocol', 'a pong answers no ping')
    this.#unanswered = undefined
  }

  close(): void {
    this.#cancel()
  }

  #beat(): void {
    const { clock, limits, sweep, fail, ping } = this.#options
    this.#cancel = clock.after(this.#beatMs, () => this.#beat())
    const now = clock.now()
    this.#forgive(now)
    if (this.#isHeard) this.#heardAt = now
    this.#isHeard = false
    if (!this.#isGreeted) {
      if (now - this.#startedAt >= limits.helloMs) fail(new TunnelFault('silent', 'the other end did not say hello in time'))
      return
    }
    if (this.#unanswered) {
      const since = Math.max(this.#lastPingAt, this.#heardAt)
      if (now - since >= limits.pingDeadlineMs || now - this.#lastPingAt >= MOST_DEADLINES * limits.pingDeadlineMs)
        return fail(new TunnelFault('silent', `the other end did not answer a ping within ${limits.pingDeadlineMs / 1000} s`))
    } else if (now - this.#lastPingAt >= limits.pingEveryMs) {
      this.#lastPingAt = now
      this.#unanswered = Buffer.alloc(8)
      this.#unanswered.writeUInt32BE(++this.#pings, 4)
      ping(this.#unanswered)
    }
    sweep(now)
  }

  /** While this process stood still itself, nothing could be heard: that time does not count against the other end. */
  #forgive(now: number): void {
    const late = now - this.#lastBeat - this.#beatMs
    this.#lastBeat = now
    if (late <= this.#beatMs) return
    this.#heardAt += late
    if (this.#unanswered) this.#lastPingAt += late
  }
}

import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import type { EventText } from './event-text.ts'
import type { JournalReader, Position } from './journal-reader.ts'

/** Keeps events for good; must not fail for those it has already (by uid), and has to settle in its own time. */
export type Send = (events: EventText[]) => Promise<void>

export const MAX_BATCH = 1000
/** So that batches form while calls come in: each costs a sync of the disk. */
const LINGER_MS = 100
const IDLE_MS = 1000
const MAX_BACKOFF_MS = 30_000

export interface ShipOptions {
  batch: number
  signal: AbortSignal
  bell: Bell
  log: Logger
}

/** Reading, sending and committing, one at a time; a batch whose sending failed is the first of the next time. */
export class JournalShipper {
  readonly #reader: JournalReader
  #unsent: { events: EventText[]; position: Position } | undefined
  #committed: Position | undefined
  #turn: Promise<unknown> = Promise.resolve()

  constructor(reader: JournalReader) {
    this.#reader = reader
  }

  /** Sends all that is complete now; returns how many events. Rejects as `send` does, and takes up there the next time. */
  drain(send: Send, batch: number): Promise<number> {
    const mine = this.#turn.then(() => this.#drain(send, Math.min(batch, MAX_BATCH)))
    this.#turn = mine.catch(() => undefined) // the caller of that turn has it
    return mine
  }

  /** Drains, waits for the bell and goes on until the signal fires; a failing `send` is tried again at growing intervals. */
  async ship(send: Send, { batch, signal, bell, log }: ShipOptions): Promise<void> {
    let failures = 0
    signal.addEventListener('abort', bell.ring, { once: true })
    while (!signal.aborted) {
      try {
        await this.drain(send, batch)
        failures = 0
        await bell.wait(IDLE_MS)
        await pause(LINGER_MS, signal)
      } catch (cause) {
        failures += 1
        if (failures === 1) log.warn('audit events cannot be sent now: they stay in the journal', { error: cause })
        await pause(Math.min(MAX_BACKOFF_MS, 250 * 2 ** Math.min(failures, 10)), signal)
      }
    }
  }

  async #drain(send: Send, batch: number): Promise<number> {
    let sent = 0
    for (;;) {
      const { events, position } = (this.#unsent ??= await this.#reader.read(batch))
      for (let from = 0; from < events.length; from += batch) await this.#deliver(send, events.slice(from, from + batch))
      const moved = this.#committed?.segment !== position.segment || this.#committed.offset !== position.offset
      if (moved) await this.#reader.commit(position)
      this.#committed = position
      this.#unsent = undefined
      sent += events.length
      if (events.length < batch) return sent
    }
  }

  /** An event that the store calls invalid would block all behind it: it is found, one by one, and set aside. */
  async #deliver(send: Send, events: EventText[]): Promise<void> {
    try {
      await send(events)
    } catch (thrown) {
      if (!(thrown instanceof AppError && thrown.code === 'invalid_argument')) throw thrown
      const [first, ...rest] = events
      if (first === undefined) return
      if (rest.length === 0) return this.#reader.setAside(first.text, `refused by the store: ${thrown.message}`)
      for (const event of events) await this.#deliver(send, [event])
    }
  }
}

export interface Bell {
  ring: () => void
  /** Ends with the next ring, or after so many ms; at once when it was rung since the last time. */
  wait: (ms: number) => Promise<void>
}

/** Wakes who waits; rings that nobody waits for are kept. */
export function createBell(): Bell {
  let rung = false
  let wake: AbortController | undefined
  return {
    ring() {
      rung = true
      wake?.abort()
    },
    async wait(ms) {
      if (!rung) {
        wake = new AbortController()
        await pause(ms, wake.signal)
        wake = undefined
      }
      rung = false
    },
  }
}

/** Ends early, without an error, when the signal fires. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal, ref: false }).catch((cause: unknown) => {
    if (!signal.aborted) throw cause
  })
}

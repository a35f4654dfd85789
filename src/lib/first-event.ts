import type { EventEmitter } from 'node:events'

/** Settles with the first of these events, and leaves no listener behind. An `error` among them is no failure here. */
export function firstEvent(emitter: EventEmitter, events: readonly string[]): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      for (const event of events) emitter.off(event, done)
      resolve()
    }
    for (const event of events) emitter.on(event, done)
  })
}

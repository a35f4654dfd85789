import { AppError } from '../../lib/errors.ts'
import type { SseEvent } from '../../lib/sse.ts'
import { sizeOfEvent, toEvent } from './in-flight.ts'
import { createQueue } from './queue.ts'
import type { Queue } from './queue.ts'

/** Who gets the messages of a stdio server that belong to no request: one listener at a time, and a small store while there is none. */
export interface ListenerSlot {
  /** A new listener takes over from the one before; it gets what was stored first. */
  open(signal: AbortSignal): AsyncIterable<SseEvent>
  /** False when nobody listens. */
  deliver(line: Buffer): boolean
  /** Keeps a message for the next listener. */
  store(line: Buffer): void
  /** The conversation is over, with an error or without. */
  end(error?: Error): void
}

export interface ListenerOptions {
  /** Of messages the listener has not read. */
  maxQueuedBytes: number
  onDrop: (why: string) => void
}

const MAX_STORED = { messages: 100, bytes: 1024 * 1024 }

export function createListenerSlot({ maxQueuedBytes, onDrop }: ListenerOptions): ListenerSlot {
  let current: Queue<SseEvent> | undefined
  let stored: Buffer[] = []
  let storedBytes = 0

  return {
    open(signal) {
      const release = (): void => {
        signal.removeEventListener('abort', onAbort)
        if (current === own) current = undefined
      }
      const onAbort = (): void => {
        release()
        own.fail(new AppError('cancelled', 'the stream was cancelled'), true)
      }
      const own: Queue<SseEvent> = createQueue({ sizeOf: sizeOfEvent, onAbandon: release })
      signal.addEventListener('abort', onAbort, { once: true })
      current?.end()
      current = own
      for (const line of stored) own.push(toEvent(line))
      stored = []
      storedBytes = 0
      return own
    },
    deliver(line) {
      if (current && current.bytes() > 0 && current.bytes() + line.length > maxQueuedBytes) {
        current.fail(new AppError('resource_exhausted', 'the messages of the server were not read in time: they take too much memory'))
        current = undefined
      }
      current?.push(toEvent(line))
      return current !== undefined
    },
    store(line) {
      stored.push(Buffer.from(line))
      storedBytes += line.length
      while (stored.length > MAX_STORED.messages || storedBytes > MAX_STORED.bytes) {
        storedBytes -= stored.shift()?.length ?? 0
        onDrop('nobody listened')
      }
    },
    end(error) {
      if (error) current?.fail(error)
      else current?.end()
      current = undefined
    },
  }
}

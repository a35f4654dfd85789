// Runs in a thread of its own (shipping.ts): brings the events of a journal into the store.
import { readlinkSync } from 'node:fs'
import { setPriority } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import type { MessagePort } from 'node:worker_threads'
import { z } from 'zod'
import { SharedEnd } from '../../audit/journal-end.ts'
import type { JournalEnd } from '../../audit/journal-end.ts'
import { JournalReader } from '../../audit/journal-reader.ts'
import { createBell, JournalShipper } from '../../audit/journal-shipper.ts'
import type { Bell } from '../../audit/journal-shipper.ts'
import type { Logger, LogLevel } from '../../lib/log.ts'
import { openEventAppender } from '../../storage/store.ts'

const setupSchema = z.object({
  /** Of the journal. */
  directory: z.string(),
  /** Of a `SharedEnd`. */
  end: z.instanceof(SharedArrayBuffer),
  store: z.object({ type: z.enum(['sqlite', 'postgresql']), at: z.string() }),
  clusterName: z.string(),
  /** Whether to tell of every new event. */
  wantsLines: z.boolean(),
})
export type ShippingSetup = z.infer<typeof setupSchema>

const BATCH = 1000
/** Of a thread that others need not wait for. */
const NICE = 10

if (parentPort) await ship(parentPort, setupSchema.parse(workerData))

/** Ships until it is told `stop`, then what is left. Rejects when that cannot be stored. */
async function ship(port: MessagePort, { directory, end: memory, store, clusterName, wantsLines }: ShippingSetup): Promise<void> {
  lowerPriority()
  const log = createPortLog(port)
  const end = new SharedEnd(memory)
  const stop = new AbortController()
  let seen = end.load()
  const reader = new JournalReader(directory, () => (seen = end.load()), log)
  const bell = createSleepBell(end, () => seen)
  port.on('message', (message) => (message === 'stop' ? stop.abort() : bell.ring()))
  const appender = await openEventAppender(store, clusterName)
  const send: Parameters<JournalShipper['drain']>[0] = async (events) => {
    const lines = await appender.append(events)
    if (lines && wantsLines) port.postMessage({ kind: 'lines', lines }, [lines.bytes.buffer])
  }
  try {
    const shipper = new JournalShipper(reader)
    await shipper.ship(send, { batch: BATCH, signal: stop.signal, bell, log })
    await shipper.drain(send, BATCH)
  } finally {
    await appender.close()
    port.close()
  }
}

/** Linux knows a priority for each thread: that of the requests is higher. Elsewhere all are alike. */
function lowerPriority(): void {
  try {
    setPriority(Number(readlinkSync('/proc/thread-self').split('/').at(-1)), NICE)
  } catch {
    // It is as good without, only dearer to the others.
  }
}

/** A bell that has to be rung by hand only while somebody waits for it, and does not wait when the end has moved already. */
function createSleepBell(end: SharedEnd, seen: () => JournalEnd): Bell {
  const { ring, wait } = createBell()
  return {
    ring,
    async wait(ms) {
      end.sleep()
      const [now, before] = [end.load(), seen()]
      if (now.segment === before.segment && now.size === before.size) await wait(ms)
    },
  }
}

/** The log of the process, over the port: errors as their text, for not everything can be sent. */
function createPortLog(port: MessagePort): Logger {
  const write =
    (level: LogLevel): Logger[LogLevel] =>
    (message, fields = {}) =>
      port.postMessage({
        kind: 'log',
        level,
        message,
        fields: Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, renderField(value)])),
      })
  return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') }
}

function renderField(value: unknown): unknown {
  if (typeof value === 'number' || typeof value === 'string') return value
  return value instanceof Error ? (value.stack ?? value.message) : String(value)
}

import { basename } from 'node:path'
import { Worker } from 'node:worker_threads'
import { z } from 'zod'
import type { ChainedLines } from '../../audit/chain.ts'
import type { JournalSource, Shipping } from '../../audit/spool.ts'
import type { Logger } from '../../lib/log.ts'
import type { StoreLocation } from '../../storage/store.ts'
import type { ShippingSetup } from './journal-thread.ts'

export interface ShippingThreadOptions {
  source: JournalSource
  store: StoreLocation
  clusterName: string
  /** Told of new events in the order of the chain, except for those of other writers between them. */
  onAppended: ((lines: ChainedLines) => void) | undefined
  log: Logger
}

const RESTART_MS = 1000
const CLOSE_MS = 30_000

/** Reads a journal and stores its events in a thread, which is started again when it dies. */
export function startShippingThread({ source, store, clusterName, onAppended, log }: ShippingThreadOptions): Shipping {
  const setup: ShippingSetup = {
    directory: source.directory,
    end: source.end,
    store,
    clusterName,
    wantsLines: onAppended !== undefined,
  }
  let isClosing = false
  let restart: NodeJS.Timeout | undefined
  let thread = start()

  function start(): { worker: Worker; ended: Promise<void> } {
    const worker = new Worker(threadFile(), { workerData: setup, execArgv: [], stdin: false })
    const { promise: ended, resolve } = Promise.withResolvers<void>()
    worker.unref()
    worker.on('message', (message: unknown) => {
      const told = toldSchema.parse(message)
      if (told.kind === 'lines') onAppended?.(told.lines)
      else log[told.level](told.message, told.fields)
    })
    worker.on('error', (error) => log.error('audit events cannot be stored now: they stay in the journal', { error }))
    worker.on('exit', () => {
      resolve()
      if (!isClosing) restart = setTimeout(() => (thread = start()), RESTART_MS).unref()
    })
    return { worker, ended }
  }

  source.onWritten(() => thread.worker.postMessage('wake'))
  return {
    async close() {
      isClosing = true
      clearTimeout(restart)
      const { worker, ended } = thread
      worker.ref()
      worker.postMessage('stop')
      const deadline = setTimeout(() => void worker.terminate(), CLOSE_MS)
      await ended
      clearTimeout(deadline)
    },
  }
}

const link = z.object({ seq: z.number(), prev: z.string(), hash: z.string() })
const toldSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('lines'), lines: z.object({ first: link, last: link, bytes: z.instanceof(Uint8Array<ArrayBuffer>) }) }),
  z.object({
    kind: z.literal('log'),
    level: z.enum(['debug', 'info', 'warn', 'error']),
    message: z.string(),
    fields: z.record(z.string(), z.unknown()).optional(),
  }),
])

/** Beside this file in the sources; of a bundle, whose shared code stands in a folder `chunks`, beside the commands. */
function threadFile(): URL {
  if (import.meta.filename.endsWith('.ts')) return new URL('./journal-thread.ts', import.meta.url)
  return new URL(basename(import.meta.dirname) === 'chunks' ? '../journal-thread.js' : './journal-thread.js', import.meta.url)
}

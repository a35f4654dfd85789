import { ensurePrivateDirectory } from '../../lib/atomic-file.ts'
import { acquireInstanceLock } from '../../lib/single-instance.ts'
import { type Diagnostics, startDiagnostics } from './diagnostics.ts'
import type { ProcessOptions } from './process-options.ts'

/** What is closed at the end, the last first. */
export type Closers = (() => Promise<void>)[]

export interface ProcessParts {
  closers: Closers
  /** Undefined where nothing is served of it. */
  diagnostics: Diagnostics | undefined
}

/**
 * What every process begins with: its data directory, which no other process uses, and its diagnostics. What `start` opens after that it pushes
 * on `closers`; when it fails all is closed again.
 */
export async function startInOrder<T>(
  { config, log, now }: Pick<ProcessOptions, 'config' | 'log' | 'now'>,
  start: (parts: ProcessParts) => Promise<T>,
): Promise<T & { close(): Promise<void> }> {
  const closers: Closers = []
  const close = async (): Promise<void> => {
    for (const step of closers.splice(0).toReversed()) await step()
  }
  try {
    await ensurePrivateDirectory(config.dataDirectory)
    const lock = await acquireInstanceLock(config.dataDirectory, { pid: process.pid, now })
    closers.push(() => lock.release())
    const diagnostics = config.diag && (await startDiagnostics(config.diag, { log }))
    closers.push(async () => diagnostics?.close())
    return { ...(await start({ closers, diagnostics })), close }
  } catch (error) {
    await close()
    throw error
  }
}

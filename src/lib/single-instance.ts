import { closeSync, openSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'
import { readTextIfPresent, writeFileAtomic } from './atomic-file.ts'
import { AppError } from './errors.ts'

export interface InstanceLock {
  /** Lets the next process in. May be called twice. */
  release(): Promise<void>
}

/** How long a starting process waits for another that is starting, too, to win or to give up. */
const CONTEST_MS = 250
const RECORD_MS = 500
const SQLITE_BUSY = 5

const recordSchema = z.object({ pid: z.int().positive(), started: z.string() })

/**
 * Makes this process the only one on an existing directory until it releases the lock or ends, however it ends.
 * Throws `failed_precondition` naming the other process when there is one.
 *
 * Node has no flock(2). SQLite's exclusive lock on a file of its own is a lock of the kernel on Linux and macOS: it leaves nothing stale
 * behind after kill -9, knows no process ids that could be reused, cannot be won by two, and needs no socket with its short paths.
 * As with every fcntl(2) lock, nothing else in this process may open `instance.lock`: closing it would give up the lock.
 */
export async function acquireInstanceLock(directory: string, { pid, now }: { pid: number; now: () => number }): Promise<InstanceLock> {
  const lockPath = join(directory, 'instance.lock')
  const recordPath = join(directory, 'instance.json')
  createPrivate(lockPath)
  const lock = new DatabaseSync(lockPath, { timeout: CONTEST_MS })
  try {
    lock.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    lock.close()
    if (isBusy(error)) throw await refusal(directory, recordPath)
    throw error
  }
  try {
    await writeFileAtomic(recordPath, JSON.stringify({ pid, started: new Date(now()).toISOString() }))
  } catch (error) {
    lock.close()
    throw error
  }
  return {
    async release() {
      if (!lock.isOpen) return
      try {
        await rm(recordPath, { force: true })
      } finally {
        if (lock.isOpen) lock.close()
      }
    },
  }
}

/** Before SQLite creates it for others to read. An existing file is not opened, see above. */
function createPrivate(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600))
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' && (error.errcode & 0xff) === SQLITE_BUSY
}

async function refusal(directory: string, recordPath: string): Promise<AppError> {
  const holder = await findHolder(recordPath)
  const who = holder ? `process ${holder.pid} (since ${holder.started})` : 'another process'
  const stop = holder ? `stop that process (kill ${holder.pid})` : 'stop that process'
  return new AppError('failed_precondition', `${who} already uses the data directory ${directory}`, {
    details: { pid: holder?.pid, directory, fix: [`${stop}, or choose another data directory`] },
  })
}

/** Who holds the lock; the record of a process that is gone counts only until the new holder has written its own. */
async function findHolder(recordPath: string): Promise<z.infer<typeof recordSchema> | undefined> {
  for (let waited = 0; waited <= RECORD_MS; waited += 25) {
    const record = parseRecord(await readTextIfPresent(recordPath))
    if (record && isAlive(record.pid)) return record
    await delay(25)
  }
  return undefined
}

function parseRecord(text: string | undefined): z.infer<typeof recordSchema> | undefined {
  if (text === undefined) return undefined
  try {
    return recordSchema.safeParse(JSON.parse(text)).data
  } catch {
    // Not ours, or damaged: the refusal stands without a name.
    return undefined
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    // EPERM: alive, but another account's.
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

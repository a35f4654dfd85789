import { readdirSync, statfsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { AppError } from '../lib/errors.ts'

/** What a journal takes of its disk. */
export interface DiskUse {
  /** Of the journal. */
  bytes: number
  /** Of the disk, for this process. */
  freeBytes: number
  diskBytes: number
}

export interface RoomOptions {
  /** The journal may have so many bytes. */
  maxBytes: number
  measure: () => DiskUse
}

/** What a store that is down for a long time may cost, unless told. */
export const MAX_JOURNAL_BYTES = 16 * 1024 ** 3
/** Left free of a disk, since the store may be on it too and needs room to come back: so much, and of a small disk a twentieth. */
const RESERVE_BYTES = 256 * 1024 * 1024
const RESERVE_SHARE = 1 / 20
/** Written from one look at the disk to the next. */
const LOOK_EVERY_BYTES = 4 * 1024 * 1024
/** From one look to the next while there is no room. */
const LOOK_EVERY_MS = 1000

/** Whether there is room in the journal for another call. Records of what has begun, or was refused, are let in longer. */
export class JournalRoom {
  readonly #options: RoomOptions
  #sinceLook = 0
  #refusal: AppError | undefined
  #isSpent = false
  #timer: NodeJS.Timeout | undefined

  constructor(options: RoomOptions) {
    this.#options = options
    this.#judge(options.measure())
  }

  /** @throws AppError resource_exhausted when no call may begin. */
  assertForCall(): void {
    if (this.#refusal) throw this.#refusal
  }

  /** @throws AppError resource_exhausted when not even what is refused can be recorded any more. */
  assertForPoint(): void {
    if (this.#refusal && this.#isSpent) throw this.#refusal
  }

  wrote(bytes: number): void {
    this.#sinceLook += bytes
    if (this.#sinceLook >= LOOK_EVERY_BYTES) this.#look()
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    this.#sinceLook = 0
    let use: DiskUse
    try {
      use = this.#options.measure()
    } catch {
      // A process that has all the files it may have open cannot look; it can write. What was found last holds until the next time.
      return
    }
    this.#judge(use)
  }

  #judge({ bytes, freeBytes, diskBytes }: DiskUse): void {
    const { maxBytes } = this.#options
    const reserve = Math.min(RESERVE_BYTES, diskBytes * RESERVE_SHARE)
    this.#refusal = findRefusal({ bytes, freeBytes, diskBytes }, maxBytes, reserve)
    this.#isSpent = bytes >= maxBytes + RESERVE_BYTES || freeBytes < reserve / 2
    if (this.#refusal) this.#timer ??= setInterval(() => this.#look(), LOOK_EVERY_MS).unref()
    else {
      clearInterval(this.#timer)
      this.#timer = undefined
    }
  }
}

/** Of a journal that has a directory to itself. */
export function measureDisk(directory: string): DiskUse {
  const { bsize, bavail, blocks } = statfsSync(directory)
  const sizes = readdirSync(directory).map((name) => statSync(join(directory, name), { throwIfNoEntry: false })?.size ?? 0)
  return { bytes: sizes.reduce((sum, size) => sum + size, 0), freeBytes: bavail * bsize, diskBytes: blocks * bsize }
}

function findRefusal({ bytes, freeBytes }: DiskUse, maxBytes: number, reserve: number): AppError | undefined {
  if (bytes >= maxBytes) {
    const held = `${Math.round(bytes / 1024 ** 2)} MiB of events that the store has not taken`
    return new AppError(
      'resource_exhausted',
      `the audit journal of the gateway holds ${held}: calls are refused until the store takes them`,
    )
  }
  if (freeBytes >= reserve) return undefined
  const text = 'the disk of the audit journal is nearly full: free space on the gateway; until then it refuses calls'
  return new AppError('resource_exhausted', text)
}

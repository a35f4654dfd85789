import { AppError } from '../../../lib/errors.ts'
import { FrameReader, readTexts } from './frames.ts'
import type { QueryEnd } from './query-log.ts'
import { readServerError } from './server-error.ts'

type Finish = (end: QueryEnd) => Promise<void>

interface Running {
  finish: Finish
  isAlone: boolean
  isOver: boolean
  rows: number
}

/** Larger messages of a server are rows: they are counted. */
const MAX_BODY_BYTES = 64 * 1024
/** Statements without an answer, and marks between them. */
const MAX_WAITING = 20_000

/**
 * Tells of each statement that a client sent how it ended, by what the server says (protocol 3.0, "Message Flow"): how many rows, or which
 * error. It holds nothing up: where the two do not fit together a statement ends with what came last.
 */
export class Outcomes {
  readonly #reader = new FrameReader(MAX_BODY_BYTES)
  /** In the order in which the server gets to it. */
  #waiting: (Running | 'sync')[] = []
  #rows = 0
  #error: string | undefined
  #isCopyingIn = false

  /** A statement is on its way. @throws AppError resource_exhausted for too many without an answer. */
  sent(finish: Finish, isAlone: boolean): void {
    if (this.#waiting.length >= MAX_WAITING)
      throw new AppError('resource_exhausted', `more than ${MAX_WAITING} statements of one session have no answer`)
    this.#waiting.push({ finish, isAlone, isOver: false, rows: 0 })
  }

  synced(): void {
    // Nothing was asked for: the next of these says so, too.
    if (this.#waiting.length < MAX_WAITING) this.#waiting.push('sync')
  }

  /** While a server takes rows it passes over what else comes, until they are over. */
  copied(): void {
    if (this.#isCopyingIn) this.#waiting = this.#waiting.filter((one) => one !== 'sync')
  }

  /** Bytes of the server; settles when what they say is recorded. */
  async heard(chunk: Buffer): Promise<void> {
    const ends: Promise<void>[] = []
    for (const { type, body } of this.#reader.push(chunk)) {
      if (type === 'D' || type === 'd') this.#rows += 1
      else if (type === 'G' || type === 'W') this.#isCopyingIn = true
      else if (type === 'E') this.#failed(readServerError(body).message, ends)
      else if (type === 'C') this.#completed(readTag(body), ends)
      else if (type === 'I' || type === 's' || type === 'V') this.#completed(this.#rows, ends)
      else if (type === 'Z') this.#ready(ends)
    }
    if (ends.length > 0) await Promise.all(ends)
  }

  /** The session is over: how the rest ended nobody knows. */
  async close(reason: string): Promise<void> {
    const left = this.#waiting.flatMap((one) => (one === 'sync' || one.isOver ? [] : one.finish({ error: reason })))
    this.#waiting = []
    await Promise.all(left)
  }

  #completed(rows: number, ends: Promise<void>[]): void {
    this.#isCopyingIn = false
    const running = this.#current()
    if (running) running.rows += rows
    this.#rows = 0
    if (!running || running.isAlone) return
    this.#end(running, { rows: running.rows }, ends)
  }

  /** An error ends all that is run with the one it is about. */
  #failed(error: string, ends: Promise<void>[]): void {
    this.#isCopyingIn = false
    this.#rows = 0
    this.#error ??= error
    const running = this.#current()
    if (running) this.#end(running, { error }, ends)
  }

  #ready(ends: Promise<void>[]): void {
    const at = this.#waiting.findIndex((one) => one === 'sync' || one.isAlone)
    for (const one of this.#waiting.splice(0, at + 1)) {
      if (one === 'sync' || one.isOver) continue
      this.#end(one, this.#error === undefined ? { rows: one.rows } : { error: `not run, for what came before it: ${this.#error}` }, ends)
    }
    this.#rows = 0
    this.#error = undefined
    this.#isCopyingIn = false
  }

  /** What the server is at. */
  #current(): Running | undefined {
    for (const one of this.#waiting) {
      if (one === 'sync') return undefined
      if (!one.isOver) return one
    }
    return undefined
  }

  #end(running: Running, end: QueryEnd, ends: Promise<void>[]): void {
    running.isOver = true
    ends.push(running.finish(end))
  }
}

/** `SELECT 3`, `INSERT 0 1`: how many rows. */
function readTag(body: Buffer | undefined): number {
  return Number(/\s(\d+)$/.exec(readTexts(body ?? Buffer.alloc(0))[0] ?? '')?.[1] ?? 0)
}

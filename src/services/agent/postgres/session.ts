import { AppError } from '../../../lib/errors.ts'
import { type ConnectOptions, connectPostgres, type ConnectTarget, sendCancel, type StartedSession } from './connect.ts'
import { cString, frame, int16, int32, notPostgres, readTexts } from './frames.ts'
import { checkPower, runOwn } from './own-statements.ts'
import { Rows, type RowLimits } from './rows.ts'
import { readServerError } from './server-error.ts'

export interface StatementOptions extends RowLimits {
  readOnly: boolean
  /** When the server should have ended it by itself. */
  timeoutMs: number
  signal: AbortSignal
}

/** What came of one statement. */
export interface StatementResult {
  rows: Rows
  /** Whether the statement gives rows at all. */
  hasRows: boolean
  /** Rows that were changed, or given; as the server counts them. */
  affected: number
  /** `SELECT 3`, `INSERT 0 1`: the server's word of what it did; empty when the rows were cut off. */
  command: string
}

/** Rows asked for at a time: so few, that those which come after the last one wanted can be thrown away. */
const BATCH = 64
/** For what the server sends between its timeout and its answer. */
const GRACE_MS = 5000
const EMPTY = Buffer.alloc(0)
const SYNC = frame('S')
const FLUSH = frame('H')

/** One session with a database: one statement at a time, each in a transaction of its own, after which nothing but its changes is left of it. */
export class PostgresSession {
  readonly #started: StartedSession
  readonly #target: ConnectTarget

  private constructor(started: StartedSession, target: ConnectTarget) {
    this.#started = started
    this.#target = target
  }

  /**
   * @param options with `readOnly`, a user who could reach beyond any transaction is refused with `permission_denied`.
   * @throws AppError as `connectPostgres` does.
   */
  static async open(options: ConnectOptions & { readOnly: boolean; timeoutMs: number }): Promise<PostgresSession> {
    const session = new PostgresSession(await connectPostgres(options), options)
    if (!options.readOnly) return session
    try {
      await session.#within(options.timeoutMs, options.signal, () => checkPower(session.#started.frames, options.user))
      return session
    } catch (thrown) {
      session.close()
      throw thrown
    }
  }

  get isOpen(): boolean {
    return this.#started.frames.isOpen
  }

  /**
   * Runs one statement. A second one in the same text is refused by the server (extended query protocol).
   * @throws AppError failed_precondition (origin upstream) with the database's own words, cancelled, deadline_exceeded, unavailable.
   */
  async run(sql: string, options: StatementOptions): Promise<StatementResult> {
    return await this.#within(options.timeoutMs, options.signal, async () => {
      const { frames } = this.#started
      frames.maxBytes = options.maxBytes + 65_536
      // A transaction that has read something cannot become one that writes, whatever the statement sets.
      await this.#simple(options.readOnly ? 'BEGIN TRANSACTION READ ONLY; SELECT 1' : 'BEGIN TRANSACTION READ WRITE')
      const outcome = await this.#extended(sql, options).then(
        (result) => ({ result }),
        (error: unknown) => ({ error }),
      )
      const isKept = 'result' in outcome && !options.readOnly
      await this.#simple(isKept ? 'COMMIT' : 'ROLLBACK')
      // No setting, lock, cursor or prepared statement is left behind for the next one.
      await this.#simple('DISCARD ALL')
      if ('error' in outcome) throw outcome.error
      return outcome.result
    })
  }

  /** Calls `listener` when the server says something, or leaves, while no statement runs; returns what ends that. */
  onHeard(listener: () => void): () => void {
    const { socket } = this.#started.frames
    for (const event of ['readable', 'end', 'close']) socket.on(event, listener)
    return () => {
      for (const event of ['readable', 'end', 'close']) socket.off(event, listener)
    }
  }

  /** Ends the session at once. Safe to call twice. */
  close(): void {
    const { frames } = this.#started
    if (frames.isOpen) frames.write(frame('X'))
    frames.socket.destroySoon()
  }

  /** A statement of ours. */
  async #simple(sql: string): Promise<void> {
    await runOwn(this.#started.frames, sql)
  }

  /** What prepares or ends a statement failed: nobody knows in what state the session is. */
  #broken(failure: AppError): AppError {
    this.#started.frames.destroy(failure)
    return failure
  }

  async #extended(sql: string, options: StatementOptions): Promise<StatementResult> {
    const { frames } = this.#started
    const rows = new Rows(options)
    frames.write(
      frame('P', cString(''), cString(sql), int16(0)),
      frame('B', cString(''), cString(''), int16(0), int16(0), int16(0)),
      frame('D', Buffer.from('P'), cString('')),
      execute(rows),
      FLUSH,
    )
    let result: StatementResult | undefined
    let failure: unknown
    let hasRows = false
    for (let isDone = false; !isDone;) {
      const { type, body } = await frames.next()
      isDone = true
      if (type === 'E') failure = readServerError(body)
      else if (type === 'C') result = { rows, hasRows, ...readTag(body, rows) }
      else if (type === 'I') result = { rows, hasRows, affected: 0, command: '' }
      else if (type === 'G' || type === 'H' || type === 'W')
        throw this.#broken(new AppError('failed_precondition', 'COPY is not possible here'))
      else {
        try {
          isDone = this.#take(type, body, rows)
          if (isDone) result = { rows, hasRows: true, affected: rows.count, command: '' }
        } catch (thrown) {
          failure = thrown
          isDone = true
        }
        hasRows ||= type === 'T'
      }
    }
    await this.#sync()
    if (failure !== undefined || !result) throw failure
    return result
  }

  /** Whether that was the end: no more rows are wanted. */
  #take(type: string, body: Buffer | undefined, rows: Rows): boolean {
    if (type === 'T') rows.describe(body)
    else if (type === 'D') {
      if (rows.room === 0) rows.isFull = true
      else rows.add(body)
    } else if (type === 's') {
      if (rows.isFull) return true
      this.#started.frames.write(execute(rows), FLUSH)
    } else if (!'12nNSA'.includes(type)) throw this.#broken(notPostgres())
    return false
  }

  /** Ends the statement. Rows that are still on their way are thrown away. */
  async #sync(): Promise<void> {
    const { frames } = this.#started
    frames.write(SYNC)
    for (;;) {
      const { type, body } = await frames.next()
      if (type !== 'Z') continue
      // The transaction we began has to be there still: in force, or failed.
      const status = body?.toString('latin1')
      if (status === 'T' || status === 'E') return
      throw this.#broken(new AppError('failed_precondition', 'the statement ended its transaction'))
    }
  }

  /** Runs `use`; asks the server to stop when nobody wants the answer any more, and ends the session if it does not. */
  async #within<T>(timeoutMs: number, signal: AbortSignal, use: () => Promise<T>): Promise<T> {
    const { frames } = this.#started
    const late = new AppError('deadline_exceeded', 'the database did not end the statement in time', { origin: 'upstream' })
    let timer = setTimeout(() => frames.destroy(late), timeoutMs + GRACE_MS)
    const cancelled = new AppError('cancelled', 'the request was cancelled')
    const onAbort = (): void => {
      clearTimeout(timer)
      timer = setTimeout(() => frames.destroy(cancelled), GRACE_MS)
      // Should it not arrive, the session ends a moment later.
      sendCancel(this.#target, this.#started.cancelKey, AbortSignal.timeout(GRACE_MS)).catch(() => frames.destroy(cancelled))
    }
    if (signal.aborted) throw cancelled
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      return await use()
    } catch (thrown) {
      throw signal.aborted ? cancelled : thrown
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
      // A cancel request that is still on its way could meet the next statement.
      if (signal.aborted) frames.destroy(cancelled)
    }
  }
}

/** One row more than is wanted tells whether there are more. */
function execute(rows: Rows): Buffer {
  return frame('E', cString(''), int32(Math.min(BATCH, rows.room + 1)))
}

function readTag(body: Buffer | undefined, rows: Rows): { affected: number; command: string } {
  const command = readTexts(body ?? EMPTY)[0] ?? ''
  const count = /\s(\d+)$/.exec(command)?.[1]
  return { command, affected: count === undefined ? rows.count : Number(count) }
}

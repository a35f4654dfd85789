import type { Answer } from '../../../lib/http-exchange.ts'
import { AppError } from '../../../lib/errors.ts'
import { firstEvent } from '../../../lib/first-event.ts'
import type { Database } from '../../../resources/db.ts'
import type { Identity } from '../../../resources/identity.ts'
import type { StartedSession } from './connect.ts'
import { FrontendAudit, RefusedStatement } from './frontend-audit.ts'
import { cString, frame, int32 } from './frames.ts'
import { Outcomes } from './outcomes.ts'
import type { QueryEnd } from './query-log.ts'

export interface RawStreamOptions {
  started: StartedSession
  identity: Identity
  owner: string
  server: string
  database: Database
  /** What the client is told to send when it wants a statement cancelled; not the server's own. */
  cancelKey: Buffer
  /** Writes down a statement; it goes on only after this has settled. What comes of it writes down how it ended. */
  record(statement: string): Promise<(end: QueryEnd) => Promise<void>>
  /** Why a statement may not go, where that is for this agent to say; and what writes that down. */
  findFault?: ((sql: string) => string | undefined) | undefined
  refuse(statement: string, reason: string): Promise<void>
}

const KEEP_ALIVE_MS = 30_000
const NOTHING = Buffer.alloc(4)

/** One session of a program that speaks PostgreSQL itself: bytes in both directions, and a record of every statement. */
export class RawStream {
  readonly identity: Identity
  readonly owner: string
  readonly server: string
  /** As it was when the session began. */
  readonly database: Database
  readonly #options: RawStreamOptions
  readonly #audit: FrontendAudit
  readonly #outcomes = new Outcomes()
  #received = 0
  #isOver = false
  #taking: Promise<void> = Promise.resolve()
  /** Why it was ended from here; for the client. */
  #reason: string | undefined

  constructor(options: RawStreamOptions) {
    this.#options = options
    this.#audit = new FrontendAudit({ findFault: options.findFault })
    this.identity = options.identity
    this.owner = options.owner
    this.server = options.server
    this.database = options.database
  }

  get reason(): string | undefined {
    return this.#reason
  }

  /**
   * Brings what the server says to the client until either leaves: pieces of any size, each behind its length (4 bytes, big-endian); a length of
   * 0 says only that the way is open still. Settles when it is over.
   */
  async deliver(answer: Answer, signal: AbortSignal): Promise<void> {
    const { frames } = this.#options.started
    const onAbort = (): void => frames.destroy()
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
    const timer = setInterval(() => answer.write(NOTHING), KEEP_ALIVE_MS).unref()
    try {
      await this.#bring(answer)
      answer.end(this.#reason === undefined ? undefined : framed(farewell(this.#reason)))
    } finally {
      clearInterval(timer)
      signal.removeEventListener('abort', onAbort)
      frames.destroy()
      this.#isOver = true
      // What is being recorded now is among it.
      await this.#taking
      await this.#outcomes.close(this.#reason ?? 'the session ended before the answer')
    }
  }

  async #bring(answer: Answer): Promise<void> {
    const { frames } = this.#options.started
    answer.write(framed(this.#greeting()))
    try {
      for (let chunk = await frames.readRaw(); chunk; chunk = await frames.readRaw()) {
        await this.#outcomes.heard(chunk)
        if (!answer.write(framed(chunk))) await answer.drained()
      }
    } catch (thrown) {
      // It was ended from here: the client is told why.
      if (this.#reason === undefined) throw thrown
    }
  }

  /**
   * Takes bytes of the client, of which the first is its `offset`-th; those that are here already are passed over, so that asking again does no
   * harm. Settles when they are recorded and on their way.
   * @throws AppError aborted for a gap, else when they cannot be recorded.
   */
  take(offset: number, bytes: Buffer): Promise<void> {
    const taking = this.#taking.then(() => this.#take(offset, bytes))
    this.#taking = taking.catch((thrown: unknown) =>
      this.end(thrown instanceof AppError ? thrown.message : 'the statement could not be recorded'),
    )
    return taking
  }

  async #take(offset: number, bytes: Buffer): Promise<void> {
    const { started } = this.#options
    if (this.#isOver) throw new AppError('not_found', 'this database session has ended: connect again')
    if (offset > this.#received) throw new AppError('aborted', 'bytes of this database session were lost on the way')
    const fresh = bytes.subarray(this.#received - offset)
    if (fresh.length === 0) return
    await this.#record(fresh)
    this.#received += fresh.length
    const { socket } = started.frames
    if (!socket.write(fresh)) await firstEvent(socket, ['drain', 'close'])
  }

  async #record(bytes: Buffer): Promise<void> {
    const { record, refuse } = this.#options
    try {
      for (const step of this.#audit.push(bytes)) {
        if (step.kind === 'sync') this.#outcomes.synced()
        else if (step.kind === 'copied') this.#outcomes.copied()
        else this.#outcomes.sent(await record(step.text), step.isAlone)
      }
    } catch (thrown) {
      if (thrown instanceof RefusedStatement) await refuse(thrown.statement, thrown.message)
      throw thrown
    }
  }

  end(reason: string): void {
    this.#reason ??= reason
    this.#options.started.frames.socket.destroySoon()
  }

  /** The end of the start of a session, as the server has it. */
  #greeting(): Buffer {
    const { started, cancelKey } = this.#options
    const settings = [...started.parameters].map(([name, value]) => frame('S', cString(name), cString(value)))
    return Buffer.concat([frame('R', int32(0)), ...settings, frame('K', cancelKey), frame('Z', Buffer.from('I'))])
  }
}

function framed(bytes: Buffer): Buffer {
  return Buffer.concat([int32(bytes.length), bytes])
}

/** An ErrorResponse as of a server that is told to end a session (`admin_shutdown`). */
function farewell(reason: string): Buffer {
  const fields = [`SFATAL`, `VFATAL`, `C57P01`, `M${reason.replaceAll('\0', '')}`]
  return frame('E', ...fields.map(cString), Buffer.alloc(1))
}

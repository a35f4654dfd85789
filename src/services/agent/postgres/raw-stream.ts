import type { Answer } from '../../../lib/http-exchange.ts'
import { AppError } from '../../../lib/errors.ts'
import { firstEvent } from '../../../lib/first-event.ts'
import type { Database } from '../../../resources/db.ts'
import type { Identity } from '../../../resources/identity.ts'
import type { StartedSession } from './connect.ts'
import { FrontendAudit } from './frontend-audit.ts'
import { cString, frame, int32 } from './frames.ts'

export interface RawStreamOptions {
  started: StartedSession
  identity: Identity
  owner: string
  server: string
  database: Database
  /** What the client is told to send when it wants a statement cancelled; not the server's own. */
  cancelKey: Buffer
  /** Writes down a statement; it goes on only after this has settled. */
  record(statement: string): Promise<void>
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
  readonly #audit = new FrontendAudit()
  #received = 0
  #taking: Promise<void> = Promise.resolve()
  /** Why it was ended from here; for the client. */
  #reason: string | undefined

  constructor(options: RawStreamOptions) {
    this.#options = options
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
    }
  }

  async #bring(answer: Answer): Promise<void> {
    const { frames } = this.#options.started
    answer.write(framed(this.#greeting()))
    try {
      for (let chunk = await frames.readRaw(); chunk; chunk = await frames.readRaw()) {
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
    const { started, record } = this.#options
    if (offset > this.#received) throw new AppError('aborted', 'bytes of this database session were lost on the way')
    const fresh = bytes.subarray(this.#received - offset)
    if (fresh.length === 0) return
    for (const statement of this.#audit.push(fresh)) await record(statement)
    this.#received += fresh.length
    const { socket } = started.frames
    if (!socket.write(fresh)) await firstEvent(socket, ['drain', 'close'])
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

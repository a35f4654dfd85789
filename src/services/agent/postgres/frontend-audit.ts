import { AppError } from '../../../lib/errors.ts'
import { type Frame, FrameReader, readTexts } from './frames.ts'

const MAX_MESSAGE_BYTES = 1024 * 1024
/** Prepared statements and portals that are remembered. */
const MAX_NAMED = 10_000

/** Reads what a client of PostgreSQL says after its session has begun, and tells which statements it has executed. */
export class FrontendAudit {
  readonly #reader = new FrameReader(MAX_MESSAGE_BYTES)
  /** Name of a prepared statement → its text. */
  readonly #statements = new Map<string, string>()
  /** Name of a portal → the text of its statement. */
  readonly #portals = new Map<string, string>()

  /**
   * The statements in these bytes that the server will run, in order.
   * @throws AppError for a statement that is too large, or names nothing known here: what cannot be recorded may not go.
   */
  push(chunk: Buffer): string[] {
    return this.#reader.push(chunk).flatMap((frame) => this.#read(frame) ?? [])
  }

  #read({ type, body }: Frame): string | undefined {
    // Rows of a COPY can have any size, and say nothing about what is done.
    if (type === 'd') return undefined
    if (!body) throw new AppError('invalid_argument', `a message of more than ${MAX_MESSAGE_BYTES} bytes cannot be recorded`)
    const [first = '', second = ''] = readTexts(body)
    if (type === 'Q') return first
    if (type === 'F') return `call of the function with the OID ${body.length < 4 ? '?' : body.readUInt32BE(0)}`
    if (type === 'P') this.#remember(this.#statements, first, second)
    if (type === 'B') this.#remember(this.#portals, first, this.#find(this.#statements, second))
    return type === 'E' ? this.#find(this.#portals, first) : undefined
  }

  #remember(named: Map<string, string>, name: string, text: string): void {
    named.set(name, text)
    if (named.size > MAX_NAMED) throw new AppError('resource_exhausted', `more than ${MAX_NAMED} prepared statements in one session`)
  }

  /** A name of SQL's own PREPARE or DECLARE is not known here, but the statement that made it was recorded. */
  #find(named: ReadonlyMap<string, string>, name: string): string {
    return named.get(name) ?? `the prepared statement or cursor ${JSON.stringify(name.slice(0, 100))}`
  }
}

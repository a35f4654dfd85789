import { AppError } from '../../../lib/errors.ts'
import { type Frame, FrameReader, readTexts } from './frames.ts'

const MAX_MESSAGE_BYTES = 1024 * 1024
/** Prepared statements and portals that are remembered. */
const MAX_NAMED = 10_000

/** What a client has the server do, as far as somebody wants to know how it ends. */
export type Step =
  /** The server runs this text; alone, up to its next ReadyForQuery, or with others up to a `sync`. */
  | { kind: 'statement'; text: string; isAlone: boolean }
  /** The server says ReadyForQuery when it gets here. */
  | { kind: 'sync' }
  /** The rows of a COPY are over. */
  | { kind: 'copied' }

export interface FrontendAuditOptions {
  /** Why a text may not go; undefined when it may. Any may, unless given, and calls of functions by number may too. */
  findFault?: ((sql: string) => string | undefined) | undefined
}

/** A statement that may not go to the server. */
export class RefusedStatement extends AppError {
  readonly statement: string

  constructor(statement: string, reason: string) {
    super('permission_denied', reason)
    this.statement = statement
  }
}

/** Reads what a client of PostgreSQL says after its session has begun, and tells which statements it has executed. */
export class FrontendAudit {
  readonly #reader = new FrameReader(MAX_MESSAGE_BYTES)
  readonly #findFault: FrontendAuditOptions['findFault']
  /** Name of a prepared statement → its text. */
  readonly #statements = new Map<string, string>()
  /** Name of a portal → the text of its statement. */
  readonly #portals = new Map<string, string>()

  constructor({ findFault }: FrontendAuditOptions = {}) {
    this.#findFault = findFault
  }

  /**
   * What the server will do with these bytes, in order.
   * @throws AppError for a statement that is too large, or names nothing known here: what cannot be recorded may not go. `RefusedStatement`.
   */
  push(chunk: Buffer): Step[] {
    return this.#reader.push(chunk).flatMap((frame) => this.#read(frame) ?? [])
  }

  #read({ type, body }: Frame): Step | undefined {
    // Rows of a COPY can have any size, and say nothing about what is done.
    if (type === 'd') return undefined
    if (!body) throw new AppError('invalid_argument', `a message of more than ${MAX_MESSAGE_BYTES} bytes cannot be recorded`)
    if (type === 'S') return { kind: 'sync' }
    if (type === 'c' || type === 'f') return { kind: 'copied' }
    const [first = '', second = ''] = readTexts(body)
    if (type === 'Q') return { kind: 'statement', text: this.#judged(first), isAlone: true }
    if (type === 'F') return { kind: 'statement', text: this.#callOf(body), isAlone: true }
    if (type === 'P') this.#remember(this.#statements, first, this.#judged(second))
    if (type === 'B') this.#remember(this.#portals, first, this.#find(this.#statements, second))
    return type === 'E' ? { kind: 'statement', text: this.#find(this.#portals, first), isAlone: false } : undefined
  }

  #judged(sql: string): string {
    const fault = this.#findFault?.(sql)
    if (fault !== undefined) throw new RefusedStatement(sql, fault)
    return sql
  }

  #callOf(body: Buffer): string {
    const text = `call of the function with the OID ${body.length < 4 ? '?' : body.readUInt32BE(0)}`
    if (this.#findFault) throw new RefusedStatement(text, 'this database is read-only here: functions are called by SELECT, not by number')
    return text
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

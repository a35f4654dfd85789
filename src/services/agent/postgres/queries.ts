import type { DatabaseSession } from '../../../access/check-database.ts'
import { AppError, toAppError } from '../../../lib/errors.ts'
import type { Logger } from '../../../lib/log.ts'
import type { AuditOptions } from '../../../mcp/recorder.ts'
import { ownerOf } from '../../../mcp/caller.ts'
import { databaseApp } from '../../../resources/db-app.ts'
import type { Database } from '../../../resources/db.ts'
import type { CallerProof, OpenOptions } from '../../../mcp/upstream/upstream.ts'
import type { Callers } from '../callers.ts'
import type { ConnectionBudget } from './budget.ts'
import { type CredentialOptions, findCredentials } from './credentials.ts'
import { QueryLog } from './query-log.ts'
import { PostgresSession, type StatementResult } from './session.ts'
import { SessionPool } from './session-pool.ts'
import { findStatementFault } from './statement-rules.ts'

export interface QueryDeps extends CredentialOptions {
  clusterName: string
  callers: Pick<Callers, 'checkDatabase' | 'databasePatterns'>
  audit: AuditOptions
  budget: ConnectionBudget
  /** Unused for that long, a connection is closed. */
  idleMs: number
  log: Logger
}

type SessionFacts = NonNullable<OpenOptions['session']>

/** PostgreSQL cuts longer names, and then another is meant. */
const MAX_NAME_BYTES = 63

/** Runs the statements of one MCP session: who may, the record, the connection, the statement, the record. */
export class Queries {
  readonly #deps: QueryDeps
  readonly #database: Database
  readonly #session: SessionFacts
  readonly #log: QueryLog
  readonly #pool: SessionPool
  readonly #closing = new AbortController()

  constructor(deps: QueryDeps, database: Database, session: SessionFacts) {
    this.#deps = deps
    this.#database = database
    this.#session = session
    this.#log = new QueryLog(deps.audit, database, session)
    this.#pool = new SessionPool({
      owner: ownerOf(session.identity),
      budget: deps.budget,
      idleMs: deps.idleMs,
      onClosed: (wanted) => {
        this.#log
          .closed(session.identity, wanted)
          .catch((error: unknown) => deps.log.warn('the end of a database session was not recorded', { error: String(error) }))
      },
    })
  }

  /** The users and names that the caller may use and that are written out; with patterns among them there are more. */
  choices(caller: CallerProof | undefined): { sessions: DatabaseSession[]; users: string[]; names: string[] } {
    const { identity } = caller ?? this.#session
    const app = databaseApp(this.#database)
    const { users, names } = this.#deps.callers.databasePatterns(identity, app)
    const literal = (patterns: string[]) => patterns.filter((pattern) => !/[*^$]/.test(pattern))
    const sessions = literal(users.allowed)
      .flatMap((user) => literal(names.allowed).map((name) => ({ user, name })))
      .slice(0, MAX_CHOICES)
      .filter((session) => this.#deps.callers.checkDatabase(identity, app, session).allow)
    return { sessions, users: users.allowed, names: names.allowed }
  }

  /**
   * Runs one statement for the caller. Every way it can go is recorded as `db.session.query`.
   * @throws AppError permission_denied when roles or the mode refuse it, else as the database and the way there fail.
   */
  async run(caller: CallerProof, session: DatabaseSession, query: string, signal: AbortSignal): Promise<StatementResult> {
    const { identity } = caller
    const { mcp } = this.#database.spec
    checkNames(session)
    const decision = this.#deps.callers.checkDatabase(identity, databaseApp(this.#database), session)
    if (!decision.allow) {
      await this.#log.refused(identity, session, query, decision.reason, decision)
      throw new AppError('permission_denied', decision.reason)
    }
    const fault = findStatementFault(query, mcp.read_only)
    if (fault !== undefined) {
      await this.#log.refused(identity, session, query, fault, { allow: false, kind: 'error', reason: fault, by: null })
      throw new AppError('permission_denied', fault)
    }
    const finish = await this.#log.begin(identity, session, query, decision.by)
    const limits = { readOnly: mcp.read_only, timeoutMs: mcp.statement_timeout * 1000, maxRows: mcp.max_rows, maxBytes: mcp.max_bytes }
    const either = AbortSignal.any([signal, this.#closing.signal])
    try {
      const result = await this.#pool.use(session, {
        open: () => this.#connect(caller, session, either),
        work: (connection) => connection.run(query, { ...limits, signal: either }),
      })
      await finish({ rows: result.affected, bytes: result.rows.bytes })
      return result
    } catch (thrown) {
      const error = toAppError(thrown)
      await finish({ error: error.message })
      throw error
    }
  }

  close(): void {
    this.#closing.abort()
    this.#pool.close()
  }

  async #connect({ assertion, identity }: CallerProof, wanted: DatabaseSession, signal: AbortSignal): Promise<PostgresSession> {
    const { spec } = this.#database
    let session: PostgresSession | undefined
    try {
      const credentials = await findCredentials(this.#deps, this.#database, wanted, assertion)
      const timeoutMs = spec.mcp.statement_timeout * 1000
      session = await PostgresSession.open({
        ...credentials,
        user: wanted.user,
        database: wanted.name,
        parameters: parametersOf(spec),
        maxBytes: spec.mcp.max_bytes,
        readOnly: spec.mcp.read_only,
        timeoutMs,
        signal,
      })
      await this.#log.connected(identity, wanted)
      return session
    } catch (thrown) {
      // One that is not in the audit log may not be used.
      if (session) session.close()
      else await this.#log.connected(identity, wanted, toAppError(thrown).message)
      throw thrown
    }
  }
}

const MAX_CHOICES = 100

/** In force before the user's own settings of role or database could be, and again after every statement (`DISCARD ALL`). */
function parametersOf({ mcp }: Database['spec']): Record<string, string> {
  const timeout = String(mcp.statement_timeout * 1000)
  return {
    application_name: 'teleport-mcp',
    client_encoding: 'UTF8',
    DateStyle: 'ISO, MDY',
    IntervalStyle: 'postgres',
    bytea_output: 'hex',
    extra_float_digits: '1',
    standard_conforming_strings: 'on',
    statement_timeout: timeout,
    idle_in_transaction_session_timeout: timeout,
    ...(mcp.read_only && { default_transaction_read_only: 'on' }),
  }
}

/** @throws AppError invalid_argument for what PostgreSQL would cut or could not take. */
export function checkNames({ user, name }: DatabaseSession): void {
  for (const text of [user, name]) {
    if (text === '' || Buffer.byteLength(text) > MAX_NAME_BYTES || /\p{Cc}/u.test(text))
      throw new AppError(
        'invalid_argument',
        `${JSON.stringify(text.slice(0, 80))} is no name of a database or a database user: 1 to ${MAX_NAME_BYTES} bytes`,
      )
  }
}

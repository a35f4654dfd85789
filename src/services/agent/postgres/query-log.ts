import type { DatabaseSession } from '../../../access/check-database.ts'
import type { Decision } from '../../../access/decision.ts'
import { buildEvent, buildFields, type FieldsOf } from '../../../audit/build-event.ts'
import type { AuditOptions } from '../../../mcp/recorder.ts'
import { identityFields } from '../../../mcp/recorder.ts'
import { databaseServerName } from '../../../resources/db-app.ts'
import type { Database } from '../../../resources/db.ts'
import type { Identity } from '../../../resources/identity.ts'

export interface QueryEnd {
  error?: string
  rows?: number
  bytes?: number
}

const MAX_ERROR = 500

/** Writes the audit events of the database sessions of one MCP session. A statement leaves after its record is written, or not at all. */
export class QueryLog {
  readonly #audit: AuditOptions
  readonly #fields: FieldsOf<'db.session.start'>
  #next = 0

  constructor(audit: AuditOptions, { metadata, spec }: Database, { sid, remoteAddress }: { sid: string; remoteAddress: string }) {
    this.#audit = audit
    this.#fields = {
      sid,
      server: databaseServerName(metadata.name),
      db_service: metadata.name,
      db_protocol: spec.protocol,
      db_uri: spec.uri,
      remote_addr: remoteAddress,
    }
  }

  /** A connection was made for the caller, or could not be. */
  async connected(identity: Identity, session: DatabaseSession, error?: string, decision?: Decision): Promise<void> {
    await this.#point(
      buildEvent(
        'db.session.start',
        {
          ...this.#about(identity, session),
          success: error === undefined,
          ...(error !== undefined && { error: error.slice(0, MAX_ERROR) }),
          ...(decision && { decision: { ...decision } }),
        },
        this.#audit,
      ),
    )
  }

  async closed(identity: Identity, session: DatabaseSession, reason?: string): Promise<void> {
    await this.#point(
      buildEvent(
        'db.session.end',
        { ...this.#about(identity, session), success: true, ...(reason !== undefined && { reason }) },
        this.#audit,
      ),
    )
  }

  /** A statement that no database is shown. */
  async refused(identity: Identity, session: DatabaseSession, query: string, error: string, decision?: Decision): Promise<void> {
    const fields = { ...this.#about(identity, session), db_query: query, success: false, error: error.slice(0, MAX_ERROR) }
    await this.#point(buildEvent('db.session.query', { ...fields, ...(decision && { decision: { ...decision } }) }, this.#audit))
  }

  /**
   * A statement that is about to go. Returns what writes how it ended.
   * @throws AppError when the journal takes no more: then the statement must not go.
   */
  async begin(identity: Identity, session: DatabaseSession, query: string, by: string): Promise<(end: QueryEnd) => Promise<void>> {
    const { spool, monotonic } = this.#audit
    const fields = { ...this.#about(identity, session), db_query: query, decision: { allow: true, by } }
    const event = buildEvent('db.session.query', fields, this.#audit)
    const open = spool.start(event.uid, JSON.stringify(event))
    const startedAt = monotonic()
    const finish = async ({ error, rows, bytes }: QueryEnd): Promise<void> => {
      const ended = {
        success: error === undefined,
        latency_ms: Math.round((monotonic() - startedAt) * 1000) / 1000,
        ...(error !== undefined && { error: error.slice(0, MAX_ERROR) }),
        ...(rows !== undefined && { db_rows: rows }),
        ...(bytes !== undefined && { result_bytes: bytes }),
      }
      spool.end(open, JSON.stringify(buildFields('db.session.query', ended, this.#audit)))
      await spool.flushed()
    }
    try {
      await spool.flushed()
    } catch (thrown) {
      spool.end(open, JSON.stringify({ success: false, error: 'not sent: the audit journal could not be written' }))
      throw thrown
    }
    return finish
  }

  #about(identity: Identity, { user, name }: DatabaseSession): FieldsOf<'db.session.start'> {
    return { ...this.#fields, ...identityFields(identity), db_user: user, db_name: name, ei: this.#next++ }
  }

  async #point(event: ReturnType<typeof buildEvent>): Promise<void> {
    this.#audit.spool.point(event)
    await this.#audit.spool.flushed()
  }
}

import type { Executor } from './database.ts'
import type { Tables } from './tables.ts'

/**
 * One thing the cluster remembers as a client of MCP servers. Times are milliseconds since 1970; `document` is sealed.
 * `grant`: the account of a user at an app; `flow`: a sign-in under way, by the hash of its state; `client`: a registration of ours.
 */
export type UpstreamRecord = Omit<Tables['upstream_records'], 'kind'> & { kind: 'grant' | 'flow' | 'client' }
type Kind = UpstreamRecord['kind']

/** Writes a record or replaces it. */
export async function upsertUpstreamRecord(db: Executor, record: UpstreamRecord): Promise<void> {
  const { kind: _, id: __, created_at: ___, ...values } = record
  await db
    .insertInto('upstream_records')
    .values(record)
    .onConflict((conflict) => conflict.columns(['kind', 'id']).doUpdateSet(values))
    .execute()
}

export async function findUpstreamRecord(db: Executor, kind: Kind, id: string): Promise<UpstreamRecord | undefined> {
  const row = await db.selectFrom('upstream_records').selectAll().where('kind', '=', kind).where('id', '=', id).executeTakeFirst()
  return row && { ...row, kind }
}

/** Those of a kind, of one account or of all; oldest first. */
export async function listUpstreamRecords(
  db: Executor,
  kind: Kind,
  { account, app }: { account?: string | undefined; app?: string | undefined } = {},
): Promise<UpstreamRecord[]> {
  let query = db.selectFrom('upstream_records').selectAll().where('kind', '=', kind)
  if (account !== undefined) query = query.where('account', '=', account)
  if (app !== undefined) query = query.where('app', '=', app)
  return (await query.orderBy('created_at').orderBy('id').execute()).map((row) => ({ ...row, kind }))
}

/** Puts another document in place of this one; false when it is not what it was. */
export async function replaceUpstreamDocument(db: Executor, { kind, id, document }: UpstreamRecord, next: string): Promise<boolean> {
  const rows = await db
    .updateTable('upstream_records')
    .set({ document: next })
    .where('kind', '=', kind)
    .where('id', '=', id)
    .where('document', '=', document)
    .returning('id')
    .execute()
  return rows.length > 0
}

/** Takes a record out: of any number of callers exactly one gets it. */
export async function takeUpstreamRecord(db: Executor, kind: Kind, id: string): Promise<UpstreamRecord | undefined> {
  const row = await db.deleteFrom('upstream_records').where('kind', '=', kind).where('id', '=', id).returningAll().executeTakeFirst()
  return row && { ...row, kind }
}

/** All of an account; the ids of its grants. */
export async function deleteUpstreamRecordsOf(db: Executor, account: string): Promise<string[]> {
  const rows = await db.deleteFrom('upstream_records').where('account', '=', account).returning(['kind', 'id']).execute()
  return rows.filter(({ kind }) => kind === 'grant').map(({ id }) => id)
}

/** All of an app; the ids of its grants. */
export async function deleteUpstreamRecordsOfApp(db: Executor, app: string): Promise<string[]> {
  const rows = await db.deleteFrom('upstream_records').where('app', '=', app).returning(['kind', 'id']).execute()
  return rows.filter(({ kind }) => kind === 'grant').map(({ id }) => id)
}

export async function deleteExpiredUpstreamRecords(db: Executor, now: number): Promise<void> {
  await db.deleteFrom('upstream_records').where('expires_at', '<=', now).execute()
}

export async function deleteUpstreamRecord(db: Executor, kind: Kind, id: string): Promise<void> {
  await db.deleteFrom('upstream_records').where('kind', '=', kind).where('id', '=', id).execute()
}

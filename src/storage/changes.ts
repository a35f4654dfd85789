import { PostgresAdapter, sql } from 'kysely'
import type { Executor } from './database.ts'
import type { Tables } from './tables.ts'

/** One thing that everybody who holds resources or credentials in memory has to hear of. `at` is ms since 1970. */
export type ChangeRow = Tables['changes']

/** What has changed; `kind` is a kind of resource, of a credential, or `keys`. */
export interface NotedChange {
  type: ChangeRow['type']
  kind: string
  name: string
}

/**
 * Waits until no other process of the cluster is about to change anything, and keeps it so to the end of the transaction: what is read
 * after this is what stands, and numbers are seen in the order in which they were given. To be called first: who holds something else
 * already may wait for one that waits for it. Returns the number of the last change.
 */
export async function lockChanges(tx: Executor): Promise<number> {
  const row = await tx
    .updateTable('counters')
    .set((set) => ({ value: set('value', '+', 0) }))
    .where('name', '=', CHANGE_SEQ)
    .returning('value')
    .executeTakeFirstOrThrow()
  return row.value
}

/** Gives the change the next number, within the transaction that makes it; takes the lock of `lockChanges`, too. Returns the number. */
export async function noteChange(tx: Executor, { type, kind, name }: NotedChange, now: number): Promise<number> {
  const { value: seq } = await tx
    .updateTable('counters')
    .set((set) => ({ value: set('value', '+', 1) }))
    .where('name', '=', CHANGE_SEQ)
    .returning('value')
    .executeTakeFirstOrThrow()
  await tx.insertInto('changes').values({ seq, type, kind, name, at: now }).execute()
  return seq
}

/** Wakes other processes once this transaction is committed, where the store can. */
export async function announceChanges(tx: Executor): Promise<void> {
  if (tx.getExecutor().adapter instanceof PostgresAdapter) await sql`select pg_notify('sallyport_changes', current_schema())`.execute(tx)
}

/** Is told when there are changes, by `announceChanges`. */
export interface ChangeListener {
  close(): Promise<void>
}

/** How many changes there have been: grows with every one, by whichever process. */
export async function getChangeSeq(db: Executor): Promise<number> {
  const row = await db.selectFrom('counters').select('value').where('name', '=', CHANGE_SEQ).executeTakeFirstOrThrow()
  return row.value
}

/** The changes after this number, in order, `limit` at most. Numbers have no gaps: where the first one is missing, it is forgotten. */
export async function listChanges(db: Executor, after: number, limit: number): Promise<ChangeRow[]> {
  return await db.selectFrom('changes').selectAll().where('seq', '>', after).orderBy('seq').limit(limit).execute()
}

/** Those since this moment (ms since 1970) as far as they are kept, in order: the last `limit`. */
export async function listRecentChanges(db: Executor, since: number, limit: number): Promise<ChangeRow[]> {
  const rows = await db.selectFrom('changes').selectAll().where('at', '>=', since).orderBy('seq', 'desc').limit(limit).execute()
  return rows.toReversed()
}

/** Forgets what changed before this moment, ms since 1970. Without gaps: a clock that was set back keeps what came after. */
export async function deleteChangesBefore(db: Executor, at: number): Promise<void> {
  const kept = await db
    .selectFrom('changes')
    .select((select) => select.fn.min('seq').as('seq'))
    .where('at', '>=', at)
    .executeTakeFirst()
  const first = kept?.seq ?? null
  const all = db.deleteFrom('changes')
  await (first === null ? all.where('at', '<', at) : all.where('seq', '<', first)).execute()
}

const CHANGE_SEQ = 'change_seq'

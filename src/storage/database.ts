import { PostgresAdapter } from 'kysely'
import type { Kysely } from 'kysely'
import type { Tables } from './tables.ts'

/** What the functions of this folder work on: the database, or a transaction of it. */
export type Executor = Kysely<Tables>

export type Database = Executor & {
  /** Ends what is under way, and all connections. May be called twice. */
  close(): Promise<void>
}

/**
 * Runs `work` in a transaction that is undone when it throws; within a transaction, as a part of it. Transactions of a store come one after
 * the other, whichever process begins them, so that what `work` has read is still true when it writes.
 * `work` must use only the executor it is given: the database itself may wait for the transaction to end.
 */
export function transact<T>(db: Executor, work: (tx: Executor) => Promise<T>): Promise<T> {
  return db.isTransaction ? work(db) : db.transaction().execute(work)
}

/** The operator that compares with a pattern, letters of ASCII in either case: texts are in the collation "C", see `renderStatement`. */
export function likeInEitherCase(db: Executor): 'like' | 'ilike' {
  return db.getExecutor().adapter instanceof PostgresAdapter ? 'ilike' : 'like'
}

import { chmodSync, closeSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { SQLInputValue, StatementSync } from 'node:sqlite'
import { Kysely, SqliteDialect } from 'kysely'
import type { SqliteDatabase } from 'kysely'
import { z } from 'zod'
import { AppError } from '../lib/errors.ts'
import type { Database } from './database.ts'
import { CREATE_MIGRATIONS, missingStatements, NEWEST_MIGRATION } from './migrate.ts'
import type { Migration } from './migrations/migration.ts'
import type { Tables } from './tables.ts'

const MAX_STATEMENTS = 200

/**
 * Opens the store and brings its schema up to date; creates the file (mode 0600) when missing. A commit that returned is on disk.
 * Throws `failed_precondition` for a file that is damaged, of a newer version or not ours, `unavailable` when it cannot be opened.
 */
export function openSqlite(file: string): Database {
  const connection = openConnection(file)
  const kysely = new Kysely<Tables>({ dialect: new SqliteDialect({ database: adapt(connection) }) })
  return Object.assign(kysely, {
    async close() {
      if (connection.isOpen) connection.close()
    },
  })
}

/** A connection as `openSqlite` makes it, for what is faster without kysely: statements throw the driver's errors (`toSqliteError`). */
export function openConnection(file: string): DatabaseSync {
  const connection = connect(file)
  try {
    // WAL and FULL: one sync a commit, readers beside a writer. The busy timeout is for other connections to the same file. Events are
    // about a kilobyte each: in pages of 16 KiB, which a new file gets, storing them costs little more than half.
    connection.exec(
      `pragma busy_timeout = 5000; pragma page_size = 16384; pragma journal_mode = wal; pragma wal_autocheckpoint = 500;
       pragma synchronous = full; pragma foreign_keys = on; pragma trusted_schema = off`,
    )
    migrateSqlite(connection)
    return connection
  } catch (cause) {
    connection.close()
    const failure = toSqliteError(cause)
    throw new AppError(failure.code, `cannot use ${file}: ${failure.message}`, { cause })
  }
}

function connect(file: string): DatabaseSync {
  try {
    if (file !== ':memory:') {
      mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
      closeSync(openSync(file, 'a', 0o600))
      chmodSync(file, 0o600) // the WAL beside it takes its mode
    }
    return new DatabaseSync(file)
  } catch (cause) {
    throw new AppError('unavailable', `cannot open ${file}: check that the directory is there and writable`, { cause })
  }
}

/**
 * Brings the schema up to date, all or nothing; safe when several processes do it at once. Throws `failed_precondition` for a database of a
 * newer version or of something else.
 */
export function migrateSqlite(connection: DatabaseSync, migrations?: readonly Migration[]): void {
  connection.exec('begin immediate')
  try {
    for (const statement of missingStatements(readVersion(connection), 'sqlite', migrations)) connection.exec(statement)
    connection.exec('commit')
  } catch (cause) {
    if (connection.isTransaction) connection.exec('rollback')
    throw cause
  }
}

const tablesSchema = z.array(z.object({ name: z.string() }))

function readVersion(connection: DatabaseSync): number {
  const tables = tablesSchema.parse(connection.prepare(`select name from sqlite_schema where type = 'table'`).all())
  if (tables.length === 0) {
    connection.exec(CREATE_MIGRATIONS)
    return 0
  }
  if (!tables.some(({ name }) => name === 'migrations'))
    throw new AppError('failed_precondition', 'the file is a database of another program')
  return z.object({ version: z.number() }).parse(connection.prepare(NEWEST_MIGRATION).get()).version
}

/** The part of better-sqlite3's interface that kysely's SQLite dialect uses, over node:sqlite; compiled statements are kept. */
function adapt(connection: DatabaseSync): SqliteDatabase {
  const statements = new Map<string, { reader: boolean; statement: StatementSync }>()
  const prepare = (sql: string): { reader: boolean; statement: StatementSync } => {
    const known = statements.get(sql)
    if (known) return known
    const statement = connection.prepare(sql)
    const prepared = { reader: statement.columns().length > 0, statement }
    const oldest = statements.size >= MAX_STATEMENTS ? statements.keys().next().value : undefined
    if (oldest !== undefined) statements.delete(oldest)
    statements.set(sql, prepared)
    return prepared
  }
  const meant = (sql: string): string => {
    // Taking the write lock at once: a transaction that reads first and then cannot get it would have to be repeated.
    if (sql === 'begin') return 'begin immediate'
    // A full disk and the like end a transaction by themselves (sqlite.org/lang_transaction.html, 3.2): they are what is to be heard of.
    return sql === 'rollback' && !connection.isTransaction ? 'select 1 where false' : sql
  }
  return {
    close: () => connection.close(),
    prepare(sql) {
      const { reader, statement } = guard(() => prepare(meant(sql)))
      return {
        reader,
        all: (parameters) => guard(() => statement.all(...parameters.map(toInput))),
        run: (parameters) => guard(() => statement.run(...parameters.map(toInput))),
        iterate: (parameters) => statement.iterate(...parameters.map(toInput)),
      }
    },
  }
}

function toInput(value: unknown): SQLInputValue {
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint' || value === null) return value
  throw new TypeError(`no SQL value: ${typeof value}`)
}

function guard<T>(work: () => T): T {
  try {
    return work()
  } catch (cause) {
    throw toSqliteError(cause)
  }
}

/** Result codes of SQLite (sqlite.org/rescode.html) that an operator can do something about; the others are faults of ours. */
export function toSqliteError(cause: unknown): AppError {
  if (cause instanceof AppError) return cause
  const extended = cause instanceof Error && 'errcode' in cause && typeof cause.errcode === 'number' ? cause.errcode : 0
  switch (extended & 0xff) {
    case 5: // BUSY
    case 6: // LOCKED
      return new AppError('unavailable', 'the database is in use by another process: try again', { cause })
    case 8: // READONLY
    case 10: // IOERR
    case 14: // CANTOPEN
      return new AppError(
        'unavailable',
        'the database cannot be read or written: check the disk and the permissions of the data directory',
        { cause },
      )
    case 11: // CORRUPT
    case 26: // NOTADB
      return new AppError('failed_precondition', 'the file is damaged or is no database: restore it from a backup or move it away', {
        cause,
      })
    case 13: // FULL
      return new AppError('resource_exhausted', 'the disk of the database is full: free some space', { cause })
    default:
      return new AppError('internal', 'the database refused a statement', { cause })
  }
}

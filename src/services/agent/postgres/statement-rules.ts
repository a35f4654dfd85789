import { readSqlWords } from './sql-words.ts'

const MAX_CHARS = 256 * 1024

/** What a statement may begin with where nothing may be changed. */
const READING = new Set(['select', 'with', 'values', 'table', 'show', 'explain'])

/** What would take the transaction, or the connection, out of our hands. */
const STEERING = new Set(['begin', 'start', 'commit', 'end', 'rollback', 'abort', 'savepoint', 'release', 'prepare', 'copy', 'listen'])

/**
 * Functions whose effect no rollback takes back and no read-only transaction stops: they reach files, other connections or other sessions, or
 * they run a text as a statement, in which all of these could hide.
 */
export const OUTSIDE =
  /^(?:dblink.*|lo_import|lo_export|pg_read_(?:binary_)?file|pg_stat_file|pg_ls_.*|pg_file_.*|pg_(?:try_)?advisory_.*|pg_terminate_backend|pg_cancel_backend|pg_reload_conf|pg_rotate_logfile.*|pg_switch_wal|pg_create_restore_point|pg_promote|pg_logical_.*|pg_replication_.*|pg_create_.*_slot|pg_copy_.*_slot|pg_drop_replication_slot|pg_(?:wal|backup)_.*|pg_notify|set_config|(?:query|cursor)_to_xml.*|ts_stat|ts_rewrite|crosstab.*|connectby|xpath_table)$/

export const UNCLEAR = "write E'…' strings in one piece, and a space between a number and what follows"

/**
 * Why a statement is refused before the database sees it; undefined when it may go. In the read-only mode this is the outermost of three
 * walls: behind it the statement runs alone in a read-only transaction that is always rolled back, of a user who is no superuser.
 */
export function findStatementFault(sql: string, readOnly: boolean): string | undefined {
  if (sql.length > MAX_CHARS) return `the statement is longer than ${MAX_CHARS} characters`
  if (sql.includes('\0')) return 'the statement holds a NUL character'
  const { first, calls, hasEncodedNames, isUnclear } = readSqlWords(sql)
  if (!readOnly)
    return STEERING.has(first) ? `${first.toUpperCase()} is not possible here: every statement is a transaction of its own` : undefined
  if (!READING.has(first))
    return `this database is read-only here: a statement has to begin with SELECT, WITH, VALUES, TABLE, SHOW or EXPLAIN${first ? `, not ${first.toUpperCase().slice(0, 40)}` : ''}`
  if (isUnclear) return `this database is read-only here: ${UNCLEAR}`
  if (hasEncodedNames) return 'this database is read-only here: write names as they are, not as U&"…"'
  const call = calls.find((name) => OUTSIDE.test(name.toLowerCase()))
  return call === undefined ? undefined : `this database is read-only here: ${call} reaches beyond the transaction`
}

import { readSqlWords } from './sql-words.ts'
import { OUTSIDE, UNCLEAR } from './statement-rules.ts'

/** What reads, and what belongs to transactions, cursors, prepared statements and sessions. */
const ALLOWED = words(
  'select with values table show explain copy begin start commit end rollback abort savepoint release declare fetch move close prepare execute deallocate set reset discard listen unlisten',
)

/** What PostgreSQL refuses by itself in a transaction that is read-only, and the session goes on. */
const REFUSED_THERE = words('insert update delete merge truncate create drop alter grant revoke comment refresh')

/** What a session may set. Others could end its being read-only, or change how the server reads what was judged here. */
const SETTINGS = words(
  'application_name bytea_output client_min_messages constraints datestyle default_transaction_isolation extra_float_digits idle_in_transaction_session_timeout intervalstyle jit lock_timeout names role row_security schema search_path statement_timeout time timezone transaction work_mem xmloption client_encoding',
)

/** Large objects, which PostgreSQL before 16 lets a read-only transaction change. */
const LARGE_OBJECTS = /^(?:lo_.*|lowrite)$/

const UTF8 = words("utf8 unicode 'utf8' 'utf-8' 'unicode'")
const WHY = 'this database is read-only here'

/** In force from the first moment of a read-only session; the server reads text as `readSqlWords` does then. */
export const READ_ONLY_PARAMETERS = { default_transaction_read_only: 'on', standard_conforming_strings: 'on', client_encoding: 'UTF8' }

/**
 * Why a text with statements is refused in a session whose transactions are read-only; undefined when the server may judge it. It does so for
 * whatever changes something; here is kept from it what would make a transaction one that writes, and what reaches beyond transactions.
 */
export function findTunnelFault(sql: string): string | undefined {
  const { calls, hasEncodedNames, isUnclear, statements } = readSqlWords(sql)
  if (isUnclear) return `${WHY}: ${UNCLEAR}`
  if (hasEncodedNames) return `${WHY}: write names as they are, not as U&"…"`
  const call = calls.find((name) => OUTSIDE.test(name.toLowerCase()) || LARGE_OBJECTS.test(name.toLowerCase()))
  if (call !== undefined) return `${WHY}: ${call.slice(0, 63)} reaches beyond the transaction`
  for (const statement of statements) {
    const fault = findFault(statement)
    if (fault !== undefined) return `${WHY}: ${fault}`
  }
  return undefined
}

function findFault(statement: readonly string[]): string | undefined {
  const [first = '', second = ''] = statement
  const isTwoPhase = second === 'prepared' || (first === 'prepare' && second === 'transaction')
  if (isTwoPhase || (first === 'alter' && second === 'system') || !(ALLOWED.has(first) || REFUSED_THERE.has(first)))
    return `${[first, ...(isTwoPhase || first === 'alter' ? [second] : [])].join(' ').toUpperCase().slice(0, 40)} is not possible`
  if (!STEERING.has(first)) return undefined
  if (statement.some((word, index) => word === 'write' && statement[index - 1] === 'read')) return 'no transaction may write'
  return first === 'set' ? findSettingFault(statement) : undefined
}

const STEERING = words('begin start set')

function findSettingFault([, ...rest]: readonly string[]): string | undefined {
  const [name = '', ...values] = rest[0] === 'session' || rest[0] === 'local' ? rest.slice(1) : rest
  // SET SESSION CHARACTERISTICS AS TRANSACTION …: which is not to write was seen to before.
  if (name === 'characteristics' && rest[0] === 'session') return undefined
  if (!SETTINGS.has(name) && !/^enable_[a-z_]+$/.test(name)) return `${name.slice(0, 63) || 'this'} cannot be set`
  const isEncoding = name === 'client_encoding' || name === 'names'
  return isEncoding && !UTF8.has(values.at(-1) ?? '') ? 'the encoding is UTF8' : undefined
}

function words(text: string): ReadonlySet<string> {
  return new Set(text.split(' '))
}

import { DatabaseError } from 'pg'
import { AppError } from '../lib/errors.ts'
import type { Code } from '../lib/errors.ts'

type Meaning = readonly [code: Code, message: string]

const BUSY: Meaning = ['unavailable', 'the database is busy: try again']
const RESTARTS: Meaning = ['unavailable', 'the database is stopping or starting: try again in a moment']
const FULL: Meaning = ['resource_exhausted', 'the disk of the database is full: free some space']
const READ_ONLY: Meaning = [
  'unavailable',
  'the database can only be read (a standby, or set so): connect to the primary, for example by target_session_attrs of your load balancer',
]
const REFUSED: Meaning = [
  'unavailable',
  'the database refuses the user or password of conn_string: check both, and pg_hba.conf of the database server',
]
const DAMAGED: Meaning = ['failed_precondition', 'the database is damaged: restore it from a backup']

/** SQLSTATE (PostgreSQL, appendix A) of what an operator can do something about; the others are faults of ours. */
const MEANINGS: Readonly<Record<string, Meaning>> = {
  '22021': ['invalid_argument', 'a text contains the character NUL, which cannot be stored: leave it out'],
  '25006': READ_ONLY,
  '28000': REFUSED,
  '28P01': REFUSED,
  '3D000': ['unavailable', 'there is no database of the name in conn_string: create it'],
  '3F000': ['failed_precondition', 'the schema to use does not exist: create it, or correct search_path'],
  '40001': BUSY,
  '40P01': BUSY,
  '42501': ['failed_precondition', 'the database user may not do this: make it the owner of its database or schema'],
  '53100': FULL,
  '53200': ['unavailable', 'the database server has no memory left: try again'],
  '53300': ['unavailable', 'the database takes no more connections: raise its max_connections, or lower pool_max_conns'],
  '55P03': BUSY,
  '57014': ['unavailable', 'the database took too long: try again'],
  '58030': ['unavailable', 'the database cannot read or write its files: see the log of the database server'],
  XX001: DAMAGED,
  XX002: DAMAGED,
}
/** By the first two characters of the code. */
const CLASSES: Readonly<Record<string, Meaning>> = {
  '08': RESTARTS,
  '57': RESTARTS,
}

/** What pg-pool says when nobody gave a connection back in time. */
const POOL_IS_EMPTY = 'timeout exceeded when trying to connect'

/** What an error of the driver means to the caller. No message repeats what the driver said, which may quote stored text. */
export function toPostgresError(cause: unknown): AppError {
  if (cause instanceof AppError) return cause
  const [code, message] = meaningOf(cause)
  return new AppError(code, message, { cause })
}

function meaningOf(cause: unknown): Meaning {
  if (cause instanceof DatabaseError)
    return MEANINGS[cause.code ?? ''] ?? CLASSES[cause.code?.slice(0, 2) ?? ''] ?? ['internal', 'the database refused a statement']
  const text = cause instanceof Error ? cause.message : ''
  const code = cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? cause.code : ''
  if (text.includes('does not support SSL'))
    return [
      'unavailable',
      'the database server does not encrypt: set it up to, or add sslmode=disable to conn_string if the network is trusted',
    ]
  if (/CERT|SIGNATURE|^ERR_(?:SSL|TLS)/.test(code))
    return ['unavailable', `the certificate of the database server is not trusted (${code}): check sslmode and sslrootcert of conn_string`]
  if (text === POOL_IS_EMPTY) return BUSY
  if (/^SASL|client password must be/.test(text)) return REFUSED
  if (text.includes('timeout')) return ['unavailable', 'the database does not answer: check that it runs and can be reached']
  return ['unavailable', `the database cannot be reached${code && ` (${code})`}: check that it runs, and host and port of conn_string`]
}

/** Whether it is nothing that is set up wrongly: a server that is not there, or not ready yet. */
export function mayComeBack(cause: unknown): boolean {
  if (cause instanceof DatabaseError) return /^(?:08|57P|40|53|25006|55P03|57014)/.test(cause.code ?? '')
  const [, message] = meaningOf(cause)
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
  return message.startsWith('the database does not answer') || (typeof code === 'string' && AWAY.has(code))
}

/** Of the network, names that are not known yet included; ENOENT is a socket of this machine. */
const AWAY = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EHOSTDOWN',
  'EAI_AGAIN',
  'ENOTFOUND',
  'ENOENT',
])

/** Whether the connection is of no use after this: it is gone, or an answer is still to come on it. */
export function isLost(cause: unknown): boolean {
  return !(cause instanceof DatabaseError) || /^(?:08|57P|25P03)/.test(cause.code ?? '')
}

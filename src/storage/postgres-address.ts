import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import type { ClientConfig } from 'pg'
import { AppError } from '../lib/errors.ts'
import { isLoopbackHost } from '../lib/loopback.ts'

/** Where the store is, and as whom. */
export interface PostgresAddress {
  /** A host name, an IP address, or the directory of a socket. */
  host: string
  port: number
  user: string
  password: string | undefined
  database: string
  tls: TlsMode
  /** Paths of PEM files; `rootCert` may be `system`. */
  files: { rootCert: string | undefined; cert: string | undefined; key: string | undefined }
  /** For the server, such as `-c search_path=sallyport`. */
  options: string | undefined
  applicationName: string
  connectTimeoutMs: number
  /** Of one process, at most. */
  maxConnections: number
}

/** As libpq has them. Its `allow` and `prefer` are left out: whoever is in between decides then that nothing is encrypted. */
const TLS_MODES = ['disable', 'require', 'verify-ca', 'verify-full'] as const
export type TlsMode = (typeof TLS_MODES)[number]

const PARAMETERS = [
  'host',
  'port',
  'sslmode',
  'sslrootcert',
  'sslcert',
  'sslkey',
  'options',
  'application_name',
  'connect_timeout',
  'pool_max_conns',
]
const FORM = 'postgresql://USER@HOST/DATABASE'
/** One for writing, one for the audit log, one to listen, and one to read. */
const MIN_CONNECTIONS = 4

/**
 * Reads a connection string in the form of a URL, with the parameters of libpq that are named here and `pool_max_conns`.
 * Throws `invalid_argument`; no message repeats any of it.
 */
export function parseConnString(text: string): PostgresAddress {
  const url = URL.parse(text.trim())
  if (!url || !/^postgres(?:ql)?:$/.test(url.protocol)) throw fault(`must have the form ${FORM}`)
  const parameter = readParameters(url)
  const host = parameter('host') ?? decode(url.hostname).replace(/^\[(.*)\]$/, '$1')
  const user = decode(url.username)
  const database = decode(url.pathname.slice(1))
  if (host.includes(',')) throw fault('names several hosts: name the primary, or what leads to it')
  if (host === '' || user === '' || database === '') throw fault(`must name user, host and database: ${FORM}`)
  return {
    host,
    port: whole('port', parameter('port') ?? (url.port || '5432'), 1, 65_535),
    user,
    password: url.password === '' ? undefined : decode(url.password),
    database,
    tls: readTlsMode(parameter('sslmode'), host),
    files: { rootCert: parameter('sslrootcert'), cert: parameter('sslcert'), key: parameter('sslkey') },
    options: parameter('options'),
    applicationName: parameter('application_name') ?? 'sallyport',
    connectTimeoutMs: whole('connect_timeout', parameter('connect_timeout') ?? '5', 1, 60) * 1000,
    maxConnections: whole('pool_max_conns', parameter('pool_max_conns') ?? '10', MIN_CONNECTIONS, 1000),
  }
}

/** As messages and logs may name it: without anything secret. */
export function renderAddress({ host, port, database, user }: PostgresAddress): string {
  return `database "${database}" at ${host}:${port} as "${user}"`
}

const LOCK_MS = 5000
const STATEMENT_MS = 10_000
/** A process that stops within a transaction keeps all others from writing. */
const IDLE_IN_TRANSACTION_MS = 10_000
/** For the answer of a server that is not there any more. */
const ANSWER_MS = 12_000

/** What a connection needs; reads the files of TLS. Throws `failed_precondition` when one cannot be read. */
export async function clientConfig(address: PostgresAddress): Promise<ClientConfig> {
  return {
    host: address.host,
    port: address.port,
    user: address.user,
    password: address.password,
    database: address.database,
    ssl: await tlsOptions(address),
    ...(address.options !== undefined && { options: address.options }),
    application_name: address.applicationName,
    connectionTimeoutMillis: address.connectTimeoutMs,
    keepAlive: true,
    lock_timeout: LOCK_MS,
    statement_timeout: STATEMENT_MS,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
    query_timeout: ANSWER_MS,
  }
}

async function tlsOptions({ tls, host, files }: PostgresAddress): Promise<ClientConfig['ssl']> {
  if (tls === 'disable') return false
  const ca = files.rootCert === undefined || files.rootCert === 'system' ? undefined : await readPem('sslrootcert', files.rootCert)
  return {
    // With a root certificate `require` verifies, as libpq does.
    rejectUnauthorized: tls !== 'require' || ca !== undefined,
    ...(tls !== 'verify-full' && { checkServerIdentity: () => undefined }),
    // For a name the driver does this; an address would be looked for as "localhost" in the certificate.
    ...(isIP(host) !== 0 && { host }),
    ...(ca !== undefined && { ca }),
    ...(files.cert !== undefined && { cert: await readPem('sslcert', files.cert) }),
    ...(files.key !== undefined && { key: await readPem('sslkey', files.key) }),
  }
}

async function readPem(parameter: string, path: string): Promise<string> {
  return readFile(path, 'utf8').catch((cause: unknown) => {
    throw new AppError('failed_precondition', `cannot read ${path}, which ${parameter} of the conn_string names`, { cause })
  })
}

function readParameters(url: URL): (name: string) => string | undefined {
  const names = [...url.searchParams.keys()]
  // It is not named: what follows a question mark may be the rest of a password.
  if (!names.every((name) => PARAMETERS.includes(name))) throw fault(`has a parameter other than ${PARAMETERS.join(', ')}`)
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined) throw fault(`has the parameter ${twice} twice`)
  return (name) => url.searchParams.get(name) || undefined
}

/** Without a word on it, what leaves this machine is encrypted, and the server has to prove its name. */
function readTlsMode(text: string | undefined, host: string): TlsMode {
  if (text === undefined) return host.startsWith('/') || isLoopbackHost(host) ? 'disable' : 'verify-full'
  const mode = TLS_MODES.find((one) => one === text)
  if (mode === undefined) throw fault(`has another sslmode than ${TLS_MODES.join(', ')}`)
  return mode
}

function whole(name: string, text: string, min: number, max: number): number {
  const value = /^\d{1,5}$/.test(text) ? Number(text) : -1
  if (value < min || value > max) throw fault(`has no ${name} from ${min} to ${max}`)
  return value
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw fault('has a % that is not followed by two hex digits: write %25 for the sign itself')
  }
}

function fault(says: string): AppError {
  return new AppError('invalid_argument', `conn_string ${says}`)
}

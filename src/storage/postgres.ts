import { Kysely, PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler } from 'kysely'
import type { CompiledQuery, DatabaseConnection, Dialect, Driver, QueryResult } from 'kysely'
import { Client, Pool, TypeOverrides } from 'pg'
import type { ClientConfig, PoolClient, QueryResultRow } from 'pg'
import { z } from 'zod'
import { AppError } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import type { Database } from './database.ts'
import { CREATE_MIGRATIONS, missingStatements, NEWEST_MIGRATION } from './migrate.ts'
import { clientConfig, parseConnString, renderAddress } from './postgres-address.ts'
import type { PostgresAddress } from './postgres-address.ts'
import { isLost, mayComeBack, toPostgresError } from './postgres-errors.ts'
import { StoreFaults } from './store-faults.ts'
import type { Tables } from './tables.ts'

/**
 * Begins a transaction that no other of this store runs beside, in this process or another: as `begin immediate` of SQLite does, so that the
 * same functions are right on both. Locks are of a database; the schema tells two stores in one database apart. Each statement sees what was
 * committed before it, so nothing that is read after this line is out of date.
 */
export const BEGIN_WRITING = `begin isolation level read committed; select pg_advisory_xact_lock(hashtextextended('sallyport/' || current_schema(), 0))`

/** Of the connections of a process one writes transactions, one appends events and one listens; the others are for the rest. */
const RESERVED = 3
const IDLE_MS = 60_000
const CLOSE_MS = 5000

/**
 * Opens the store at a connection string (`parseConnString`) and brings its schema up to date. A commit that returned is as durable as the
 * server makes it. Throws `invalid_argument` for a string that is none, `failed_precondition` for a database that is not ours, too old or of a
 * newer version, `unavailable` when it cannot be reached or turns us away; `details.away` says that waiting may help.
 * What fails later is told to callers as `StoreFaults` says it.
 */
export async function openPostgres(connString: string, log: Logger): Promise<Database> {
  const address = parseConnString(connString)
  const config = await configOf(address)
  try {
    await prepare(config)
  } catch (cause) {
    const failure = toPostgresError(cause)
    const details = failure.details ?? { ...(mayComeBack(cause) && { away: true }) }
    throw new AppError(failure.code, `cannot use the ${renderAddress(address)}: ${failure.message}`, { cause, details })
  }
  const faults = new StoreFaults({ log })
  const [reading, writing] = [openPool(config, address.maxConnections - RESERVED, log), openPool(config, 1, log)]
  const [reader, writer] = [openKysely(reading, faults), openKysely(writing, faults)]
  let closed: Promise<void> | undefined
  return Object.assign(reader, {
    // In turn, on a connection of their own: those who wait to write keep nobody from reading.
    transaction: () => writer.transaction(),
    close: () => (closed ??= within(CLOSE_MS, Promise.all([end(reading), end(writing)]))),
  })
}

/** One connection alone. Throws the driver's errors, as its statements do. */
export async function connect(address: PostgresAddress): Promise<Client> {
  return connectClient(await configOf(address))
}

async function connectClient(config: ClientConfig): Promise<Client> {
  const client = new Client(config)
  client.on('error', () => {}) // the next statement, or the one under way, fails of it
  await client.connect()
  return client
}

/** Never rejects, and does not wait long for a server that is gone. */
export function endClient(client: Client): Promise<void> {
  return within(
    CLOSE_MS,
    client.end().catch(() => undefined),
  )
}

async function configOf(address: PostgresAddress): Promise<ClientConfig> {
  return { ...(await clientConfig(address)), types: NUMBERS }
}

function openKysely(pool: Pool, faults: StoreFaults): Kysely<Tables> {
  const dialect: Dialect = {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => createDriver(pool, faults),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  }
  return new Kysely<Tables>({ dialect })
}

function openPool(config: ClientConfig, max: number, log: Logger): Pool {
  const pool = new Pool({ ...config, max, idleTimeoutMillis: IDLE_MS, allowExitOnIdle: true })
  // A connection that breaks while nobody asks anything of it; whoever uses it next is told.
  pool.on('connect', (client) => client.on('error', (error) => log.debug('a connection to the database ended', { error })))
  pool.on('error', () => {}) // the same once more
  return pool
}

async function end(pool: Pool): Promise<void> {
  if (!pool.ended) await pool.end()
}

/** Whatever becomes of it: a server that is gone does not say goodbye. */
async function within(ms: number, work: Promise<unknown>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, ms)
  try {
    await Promise.race([work, promise])
  } finally {
    clearTimeout(timer)
  }
}

const INT8 = 20
/** Eight bytes are numbers here: times in milliseconds, counters, places in the chain. */
const NUMBERS = new TypeOverrides()
NUMBERS.setTypeParser(INT8, parseWhole)

function parseWhole(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value)) throw new AppError('internal', 'the database holds a number that is too large')
  return value
}

function createDriver(pool: Pool, faults: StoreFaults): Driver {
  const sessions = new WeakMap<DatabaseConnection, Session>()
  const of = (connection: DatabaseConnection): Session => {
    const session = sessions.get(connection)
    if (!session) throw new TypeError('a connection of another driver')
    return session
  }
  return {
    async init() {},
    async acquireConnection() {
      const client = await pool.connect().catch((cause: unknown) => {
        throw faults.hide(toPostgresError(cause))
      })
      const session = new Session(client, faults)
      sessions.set(session, session)
      return session
    },
    beginTransaction: (connection) => of(connection).begin(),
    commitTransaction: (connection) => of(connection).commit(),
    rollbackTransaction: (connection) => of(connection).rollback(),
    releaseConnection: async (connection) => of(connection).close(),
    destroy: () => end(pool),
  }
}

/** One use of a connection. What broke it, or its transaction, is what every later statement fails with. */
class Session implements DatabaseConnection {
  readonly #client: PoolClient
  readonly #faults: StoreFaults
  #isLost = false
  #inTransaction = false
  #failure: AppError | undefined

  constructor(client: PoolClient, faults: StoreFaults) {
    this.#client = client
    this.#faults = faults
  }

  async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    const { command, rowCount, rows } = await this.#query<R>(sql, parameters)
    return { rows, ...(command !== 'SELECT' && { numAffectedRows: BigInt(rowCount ?? 0) }) }
  }

  streamQuery(): never {
    throw new AppError('unimplemented', 'the store is not read as a stream')
  }

  async begin(): Promise<void> {
    this.#inTransaction = true
    try {
      await this.#query(BEGIN_WRITING, [])
    } catch (failure) {
      this.#isLost = true // it may have begun, and nobody would end it
      throw failure
    }
  }

  async commit(): Promise<void> {
    const isSound = this.#failure === undefined
    try {
      await this.#query('commit', [])
    } catch (cause) {
      if (!isSound || !this.#isLost) throw cause
      throw new AppError('unavailable', 'the connection to the database was lost while a change was saved: look whether it was', { cause })
    }
    this.#inTransaction = false
  }

  /** Also of what failed to be committed. A connection that cannot do it is given up, by which the server does it. */
  async rollback(): Promise<void> {
    this.#failure = undefined
    this.#inTransaction = false
    if (!this.#isLost) await this.#query('rollback', [])
  }

  close(): void {
    this.#client.release(this.#isLost || this.#inTransaction)
  }

  async #query<R>(sql: string, parameters: readonly unknown[]) {
    if (this.#failure) throw this.#failure
    try {
      return await this.#client.query<R & QueryResultRow>(sql, [...parameters])
    } catch (cause) {
      const failure = this.#faults.hide(toPostgresError(cause))
      if (isLost(cause)) this.#isLost = true
      if (this.#isLost || this.#inTransaction) this.#failure = failure
      throw failure
    }
  }
}

const OLDEST = 150_000
/** A migration may wait for that of another process, and take its time. */
const MIGRATION_MS = 120_000
const serverSchema = z.object({ version: z.number(), encoding: z.string(), schema: z.string().nullable(), readonly: z.boolean() })
const SERVER = `select current_setting('server_version_num')::int as version, current_setting('server_encoding') as encoding,
  current_schema() as schema, pg_is_in_recovery() as readonly`
/** Also those that we may not read; what extensions bring counts for nothing. */
const TABLES = `select class.relname as "table", attname as "column" from pg_class class join pg_attribute on attrelid = class.oid
  where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p') and attnum > 0 and not attisdropped
    and not exists (select from pg_depend where objid = class.oid and classid = 'pg_class'::regclass and deptype = 'e')`

/** Looks whether this is a database for us, and brings it up to date; safe when several processes do it at once. */
async function prepare(config: ClientConfig): Promise<void> {
  const client = await connectClient({
    ...config,
    lock_timeout: MIGRATION_MS,
    statement_timeout: MIGRATION_MS,
    query_timeout: MIGRATION_MS,
  })
  try {
    checkServer(serverSchema.parse((await client.query<QueryResultRow>(SERVER)).rows[0]))
    await client.query(BEGIN_WRITING)
    for (const statement of missingStatements(await readVersion(client), 'postgresql')) await client.query(statement)
    await client.query('commit')
  } finally {
    await endClient(client)
  }
}

function checkServer({ version, encoding, schema, readonly }: z.infer<typeof serverSchema>): void {
  if (version < OLDEST)
    throw new AppError('failed_precondition', `the server is PostgreSQL ${Math.floor(version / 10_000)}: 15 or newer is needed`)
  if (encoding !== 'UTF8')
    throw new AppError('failed_precondition', `the database has the encoding ${encoding}: create it with ENCODING 'UTF8'`)
  if (schema === null)
    throw new AppError('failed_precondition', 'search_path names no schema that exists: create it, or correct options of conn_string')
  // One that is about to become the primary is, too, for a while.
  if (readonly)
    throw new AppError('unavailable', 'it is a standby, which can only be read: connect to the primary', { details: { away: true } })
}

const tablesSchema = z.array(z.object({ table: z.string(), column: z.string() }))

async function readVersion(client: Client): Promise<number> {
  const found = tablesSchema.parse((await client.query<QueryResultRow>(TABLES)).rows)
  if (found.length === 0) {
    await client.query(CREATE_MIGRATIONS)
    return 0
  }
  const columns = found.filter(({ table }) => table === 'migrations').map(({ column }) => column)
  const isOurs = columns.toSorted().join() === 'name,version' && found.some(({ table }) => table === 'event_anchor')
  if (!isOurs)
    throw new AppError(
      'failed_precondition',
      'it holds tables of another program: give Sallyport a database of its own, or a schema (options=-csearch_path=NAME)',
    )
  return z.object({ version: z.number() }).parse((await client.query<QueryResultRow>(NEWEST_MIGRATION)).rows[0]).version
}

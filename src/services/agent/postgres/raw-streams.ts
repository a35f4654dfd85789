import { randomBytes } from 'node:crypto'
import { z } from 'zod'
import { AppError, toAppError } from '../../../lib/errors.ts'
import { type Caller, ownerOf } from '../../../mcp/caller.ts'
import { databaseApp, databaseServerName } from '../../../resources/db-app.ts'
import type { Database } from '../../../resources/db.ts'
import type { Exchange } from '../../../tunnel/exchange.ts'
import { connectPostgres, sendCancel, type StartedSession } from './connect.ts'
import { findCredentials } from './credentials.ts'
import { checkPower } from './own-statements.ts'
import { checkNames, type QueryDeps } from './queries.ts'
import { QueryLog } from './query-log.ts'
import { RawStream } from './raw-stream.ts'
import { findTunnelFault, READ_ONLY_PARAMETERS } from './tunnel-rules.ts'

const MAX_TIMER_MS = 2 ** 31 - 1
/** For the wish that a statement ends to arrive. */
const CANCEL_MS = 5000
const MAX_START_BYTES = 65_536

/** Settings that a client may begin its session with. `replication`, which makes it another kind of session, is none of them. */
const SETTINGS = [
  'application_name',
  'client_encoding',
  'DateStyle',
  'TimeZone',
  'IntervalStyle',
  'extra_float_digits',
  'search_path',
] as const

const openSchema = z.strictObject({
  user: z.string(),
  name: z.string(),
  parameters: z.partialRecord(z.enum(SETTINGS), z.string().max(1000)).default({}),
})

interface Open {
  stream: RawStream
  cancel(): Promise<void>
}

/**
 * Sessions of programs that speak PostgreSQL themselves (`tsh proxy db`), as exchanges, which every carrier between proxy and agent knows: a POST of JSON
 * opens one, and its answer is what the server says; a POST with the id of the session in `mcp-session-id` brings bytes for it, or, with
 * `sallyport-cancel`, the wish that its statement ends; a DELETE ends it.
 */
export class RawStreams {
  readonly #deps: QueryDeps & { sessionId(): string }
  readonly #open = new Map<string, Open>()

  constructor(deps: QueryDeps & { sessionId(): string }) {
    this.#deps = deps
  }

  /** @throws AppError as the request has to be refused; what has begun to be answered only ends. */
  async serve(database: Database, exchange: Exchange, caller: Caller): Promise<void> {
    const { decision } = caller.access()
    if (!decision.allow) throw new AppError('permission_denied', decision.reason)
    const { 'mcp-session-id': id, 'sallyport-offset': offset = '', 'sallyport-cancel': cancel } = exchange.headers
    if (id === undefined) return await this.#begin(database, exchange, caller)
    const open = this.#open.get(id)
    if (!open || open.stream.owner !== ownerOf(caller.identity) || open.stream.server !== exchange.server)
      throw new AppError('not_found', 'unknown database session: connect again')
    if (exchange.method === 'DELETE') open.stream.end('the session was closed')
    else if (cancel !== undefined) await open.cancel()
    else {
      if (!/^\d{1,15}$/.test(offset)) throw new AppError('invalid_argument', 'sallyport-offset has to say where these bytes belong')
      await open.stream.take(Number(offset), exchange.body)
    }
    exchange.answer.head(204, {})
    exchange.answer.end()
  }

  cut(reasonFor: (stream: Pick<RawStream, 'identity' | 'server' | 'database'>) => string | undefined): void {
    for (const { stream } of this.#open.values()) {
      const reason = reasonFor(stream)
      if (reason !== undefined) stream.end(reason)
    }
  }

  async #begin(database: Database, exchange: Exchange, caller: Caller): Promise<void> {
    const { callers, audit, budget } = this.#deps
    const { identity } = caller
    const { parameters, ...session } = readStart(exchange)
    checkNames(session)
    const id = this.#deps.sessionId()
    const log = new QueryLog(audit, database, { sid: audit.ids.uuidv7(), remoteAddress: exchange.remoteAddress })
    const decision = callers.checkDatabase(identity, databaseApp(database), session)
    if (!decision.allow) {
      await log.connected(identity, session, decision.reason, decision)
      throw new AppError('permission_denied', decision.reason)
    }
    const release = budget.take(ownerOf(identity))
    try {
      const { started, target } = await this.#connect(database, session, { exchange, caller, log, parameters })
      const cancelKey = randomBytes(8)
      const stream = new RawStream({
        started,
        identity,
        owner: ownerOf(identity),
        server: databaseServerName(database.metadata.name),
        database,
        cancelKey,
        record: (statement) => log.begin(identity, session, statement, decision.by),
        findFault: database.spec.tunnel.read_only ? (sql) => withRemedy(findTunnelFault(sql), database) : undefined,
        refuse: (statement, reason) => log.refused(identity, session, statement, reason, { allow: false, kind: 'error', reason, by: null }),
      })
      this.#open.set(id, { stream, cancel: () => sendCancel(target, started.cancelKey, exchange.signal) })
      const expiry = setTimeout(
        () => stream.end('your credential has expired: sign in again'),
        Math.min(identity.expiresAt - audit.now(), MAX_TIMER_MS),
      ).unref()
      const key = { 'sallyport-cancel-key': cancelKey.toString('hex') }
      exchange.answer.head(200, { 'content-type': 'application/octet-stream', 'cache-control': 'no-store', 'mcp-session-id': id, ...key })
      try {
        await stream.deliver(exchange.answer, exchange.signal)
      } catch (thrown) {
        // The answer has begun: the client sees its connection end.
        this.#deps.log.debug('a database session broke off', { error: toAppError(thrown) })
        exchange.answer.abort('the database session broke off')
      } finally {
        clearTimeout(expiry)
        // A server that is busy with a statement does not notice that nobody listens any more.
        const late = AbortSignal.timeout(CANCEL_MS)
        if (exchange.signal.aborted || stream.reason !== undefined) sendCancel(target, started.cancelKey, late).catch(() => undefined)
        this.#open.delete(id)
        await log.closed(identity, session, stream.reason)
      }
    } finally {
      release()
    }
  }

  async #connect(
    database: Database,
    session: { user: string; name: string },
    { exchange, caller, log, parameters }: { exchange: Exchange; caller: Caller; log: QueryLog; parameters: Record<string, string> },
  ) {
    try {
      const target = await findCredentials(this.#deps, database, session, caller.assertion)
      const { spec } = database
      const isReadOnly = database.spec.tunnel.read_only
      if (isReadOnly) checkEncoding(parameters)
      const settings = { ...parameters, ...(isReadOnly && READ_ONLY_PARAMETERS) }
      const wanted = {
        user: session.user,
        database: session.name,
        parameters: settings,
        maxBytes: spec.mcp.max_bytes,
        signal: exchange.signal,
      }
      const started = await connectPostgres({ ...target, ...wanted })
      try {
        if (isReadOnly) await inTime(started, () => checkPower(started.frames, session.user))
        await log.connected(caller.identity, session)
      } catch (thrown) {
        started.frames.destroy()
        throw thrown
      }
      return { started, target }
    } catch (thrown) {
      await log.connected(caller.identity, session, toAppError(thrown).message)
      throw thrown
    }
  }
}

const CHECK_MS = 15_000

async function inTime(started: StartedSession, work: () => Promise<void>): Promise<void> {
  const late = new AppError('deadline_exceeded', 'the database server did not answer in time', { origin: 'upstream' })
  const timer = setTimeout(() => started.frames.destroy(late), CHECK_MS)
  try {
    await work()
  } finally {
    clearTimeout(timer)
  }
}

/** @throws AppError invalid_argument for an encoding in which the server could read a statement otherwise than it is judged here. */
function checkEncoding({ client_encoding = 'UTF8' }: Partial<Record<string, string>>): void {
  if (/^(?:utf-?8|unicode|auto)$/i.test(client_encoding)) return
  throw new AppError('invalid_argument', 'the encoding of a read-only session is UTF8: set client_encoding (PGCLIENTENCODING) to it')
}

function withRemedy(fault: string | undefined, { metadata }: Database): string | undefined {
  return fault && `${fault}. Where programs may do what the database user may, set spec.tunnel.read_only: false of db/${metadata.name}`
}

function readStart({ body, method }: Exchange): z.output<typeof openSchema> {
  const fault = (cause?: unknown): AppError => new AppError('invalid_argument', 'this does not begin a database session', { cause })
  if (method !== 'POST' || body.length > MAX_START_BYTES) throw fault()
  let document: unknown
  try {
    document = JSON.parse(body.toString('utf8'))
  } catch (cause) {
    throw fault(cause)
  }
  const parsed = openSchema.safeParse(document)
  if (!parsed.success) throw fault(parsed.error)
  return parsed.data
}

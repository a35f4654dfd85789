import { sql } from 'kysely'
import type { CompiledQuery } from 'kysely'
import { chainHash, genesisHash } from '../audit/chain.ts'
import type { Link } from '../audit/chain.ts'
import type { AuditEvent } from '../audit/event.ts'
import { renderEvent } from '../audit/event-text.ts'
import { AppError } from '../lib/errors.ts'
import { likeInEitherCase, transact } from './database.ts'
import type { Executor } from './database.ts'
import { rowOf, searchable } from './event-appender.ts'
import type { Tables } from './tables.ts'

/** An event in its place; `text` is the exact JSON that was hashed. Render it with `renderChained`. */
export interface StoredEvent extends Link {
  uid: string
  text: string
}

export interface EventQuery {
  /** Milliseconds since 1970, both inclusive. */
  from?: number | undefined
  to?: number | undefined
  type?: string | readonly string[] | undefined
  user?: string | undefined
  server?: string | undefined
  tool?: string | undefined
  outcome?: string | undefined
  sid?: string | undefined
  /** Occurs somewhere in the event; letters of ASCII in either case. */
  text?: string | undefined
  /** By place in the chain; `asc` unless told. */
  order?: 'asc' | 'desc' | undefined
  /** At most 1000, 100 unless told. */
  limit?: number | undefined
  /** Continue behind this place, in the direction of `order`. */
  after?: number | undefined
}

const MAX_RESULTS = 1000
/** A search without an index looks at every event; so many it looks at before it hands back what it has and where to go on. */
const MAX_SCANNED = 50_000
const SCAN_SLICE = 2000
/** Rows of one INSERT, so that few statements are ever compiled. */
const INSERT_SIZES = [50, 10, 1]
const COLUMNS = ['seq', 'uid', 'time', 'type', 'code', 'user', 'server', 'tool', 'outcome', 'sid', 'prev_hash', 'hash', 'document'] as const

/**
 * Appends in the given order, all or none, each linked to the one before. Events that are there already, by uid, are passed over, so a
 * batch can be repeated. Returns those that were new.
 */
export function appendEvents(db: Executor, events: readonly AuditEvent[], cluster: string): Promise<StoredEvent[]> {
  return transact(db, async (tx) => {
    const known = await findKnown(tx, events)
    const rows: Tables['events'][] = []
    let { seq, hash } = await getChainHead(tx, cluster)
    for (const event of events) {
      if (known.has(event.uid)) continue
      known.add(event.uid)
      const row = rowOf(renderEvent(event))
      const prev = hash
      seq += 1
      hash = chainHash(prev, row.document)
      rows.push({ seq, ...row, prev_hash: prev, hash })
    }
    for (let from = 0; from < rows.length;) from += await insertSome(tx, rows, from)
    return rows.map(toStored)
  })
}

/** Statements by dialect and number of rows: building one anew for each batch cost more than running it. */
const inserts = new Map<string, CompiledQuery>()

/** Inserts as many rows from `from` on as the next statement takes; returns how many. */
async function insertSome(tx: Executor, rows: readonly Tables['events'][], from: number): Promise<number> {
  const size = INSERT_SIZES.find((one) => one <= rows.length - from) ?? 1
  const some = rows.slice(from, from + size)
  const key = `${tx.getExecutor().adapter.constructor.name} ${size}`
  let insert = inserts.get(key)
  if (!insert) inserts.set(key, (insert = compileInsert(tx, size)))
  await tx.executeQuery({ ...insert, parameters: some.flatMap((row) => COLUMNS.map((column) => row[column])) })
  return size
}

function compileInsert(tx: Executor, size: number): CompiledQuery {
  const blank = {
    seq: 0,
    uid: '',
    time: 0,
    type: '',
    code: '',
    user: '',
    server: '',
    tool: '',
    outcome: '',
    sid: '',
    prev_hash: '',
    hash: '',
    document: '',
  }
  return tx
    .insertInto('events')
    .values(Array.from({ length: size }, () => blank))
    .compile()
}

/** Place and hash of the newest event; of a cluster without events seq 0 and its genesis hash. */
export async function getChainHead(db: Executor, cluster: string): Promise<{ seq: number; hash: string }> {
  const newest = await db.selectFrom('events').select(['seq', 'hash']).orderBy('seq', 'desc').limit(1).executeTakeFirst()
  return newest ?? (await findAnchor(db)) ?? { seq: 0, hash: genesisHash(cluster) }
}

/** `next` is what to give as `after` for more; null when there is no more. A page may be short, even empty, and still have a next one. */
export async function searchEvents(db: Executor, query: EventQuery): Promise<{ events: StoredEvent[]; next: number | null }> {
  const limit = query.limit ?? 100
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_RESULTS)
    throw new AppError('invalid_argument', `limit must be from 1 to ${MAX_RESULTS}`)
  if (isScan(query)) return scanEvents(db, query, limit)
  const rows = await filtered(db, query)
    .orderBy('seq', query.order ?? 'asc')
    .limit(limit + 1)
    .execute()
  const page = rows.slice(0, limit)
  return { events: page.map(toStored), next: rows.length > limit ? (page.at(-1)?.seq ?? null) : null }
}

/** Whether no index leads straight to what is asked for: only place, time and user have one, for each costs every call something. */
function isScan({ text, type, server, tool, outcome, sid }: EventQuery): boolean {
  return (text !== undefined && text !== '') || [type, server, tool, outcome, sid].some((filter) => filter !== undefined)
}

/**
 * Forgets the events before a place, keeping where the chain was cut so that it goes on unbroken. Returns how many. This is the only way
 * in which events leave.
 */
export async function deleteEventsBefore(db: Executor, seq: number): Promise<number> {
  let total = 0
  for (;;) {
    const deleted = await deleteOldest(db, seq)
    total += deleted
    if (deleted < DELETE_SLICE) return total
  }
}

/** Those who want to append wait for no more than this. */
const DELETE_SLICE = 5000

function deleteOldest(db: Executor, before: number): Promise<number> {
  return transact(db, async (tx) => {
    const { first } = await tx
      .selectFrom('events')
      .select((select) => select.fn.min('seq').as('first'))
      .executeTakeFirstOrThrow()
    const last = await tx
      .selectFrom('events')
      .select(['seq', 'hash'])
      .where('seq', '<', Math.min(before, Number(first) + DELETE_SLICE))
      .orderBy('seq', 'desc')
      .limit(1)
      .executeTakeFirst()
    if (!last) return 0
    await tx
      .insertInto('event_anchor')
      .values({ id: 1, ...last })
      .onConflict((conflict) => conflict.column('id').doUpdateSet(last))
      .execute()
    const { numDeletedRows } = await tx.deleteFrom('events').where('seq', '<=', last.seq).executeTakeFirstOrThrow()
    return Number(numDeletedRows)
  })
}

/** The newest event that was forgotten: what the oldest kept one follows. */
export async function findAnchor(db: Executor): Promise<{ seq: number; hash: string } | undefined> {
  return db.selectFrom('event_anchor').select(['seq', 'hash']).executeTakeFirst()
}

async function findKnown(tx: Executor, events: readonly AuditEvent[]): Promise<Set<string>> {
  const known = new Set<string>()
  for (let from = 0; from < events.length; from += MAX_RESULTS) {
    const uids = events.slice(from, from + MAX_RESULTS).map(({ uid }) => uid)
    for (const { uid } of await tx.selectFrom('events').select('uid').where('uid', 'in', uids).execute()) known.add(uid)
  }
  return known
}

function filtered(db: Executor, query: EventQuery) {
  let rows = db.selectFrom('events').select(['seq', 'uid', 'prev_hash', 'hash', 'document'])
  if (query.from !== undefined) rows = rows.where('time', '>=', query.from)
  if (query.to !== undefined) rows = rows.where('time', '<=', query.to)
  if (query.type !== undefined) {
    const types = [query.type].flat()
    rows = types.length > 0 ? rows.where('type', 'in', types) : rows.where(sql<boolean>`1 = 0`)
  }
  const { user, ...others } = searchable(query)
  if (user !== null) rows = rows.where('user', '=', user)
  for (const column of ['server', 'tool', 'outcome', 'sid'] as const) {
    const wanted = others[column]
    if (wanted !== null) rows = rows.where(column, '=', wanted)
  }
  if (query.after !== undefined) rows = rows.where('seq', query.order === 'desc' ? '<' : '>', query.after)
  return rows
}

/** Slice by slice, with a pause for others between two, so that no search holds up the process. */
async function scanEvents(db: Executor, query: EventQuery, limit: number): Promise<{ events: StoredEvent[]; next: number | null }> {
  const descending = query.order === 'desc'
  const { first, last } = await db
    .selectFrom('events')
    .select((select) => [select.fn.min('seq').as('first'), select.fn.max('seq').as('last')])
    .executeTakeFirstOrThrow()
  // Within JSON text, so a quote or a line end stands there as JSON writes it.
  const pattern = query.text
    ? `%${JSON.stringify(query.text)
        .slice(1, -1)
        .replace(/[\\%_]/g, '\\$&')}%`
    : undefined
  const found: StoredEvent[] = []
  const [before, behind] = [Number(first) - 1, Number(last) + 1]
  let at = descending ? Math.min(query.after ?? behind, behind) : Math.max(query.after ?? before, before)
  for (let scanned = 0; scanned < MAX_SCANNED; scanned += SCAN_SLICE) {
    if (descending ? at <= Number(first) : at >= Number(last)) return { events: found, next: null }
    const end = descending ? Math.max(at - SCAN_SLICE, Number(first)) : Math.min(at + SCAN_SLICE, Number(last))
    const slice = filtered(db, { ...query, after: at }).where('seq', descending ? '>=' : '<=', end)
    const rows = await (
      pattern === undefined ? slice : slice.where(sql<boolean>`document ${sql.raw(likeInEitherCase(db))} ${pattern} escape '\\'`)
    )
      .orderBy('seq', query.order ?? 'asc')
      .limit(limit + 1 - found.length)
      .execute()
    for (const row of rows) found.push(toStored(row))
    if (found.length > limit) return { events: found.slice(0, limit), next: found[limit - 1]?.seq ?? null }
    at = end
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { events: found, next: at }
}

function toStored(row: Pick<Tables['events'], 'seq' | 'uid' | 'prev_hash' | 'hash' | 'document'>): StoredEvent {
  return { seq: row.seq, uid: row.uid, prev: row.prev_hash, hash: row.hash, text: row.document }
}

import { sql } from 'kysely'
import { renderChained, verifyChain } from '../audit/chain.ts'
import type { ChainFault } from '../audit/chain.ts'
import { AppError, toAppError } from '../lib/errors.ts'
import type { Database, Executor } from './database.ts'
import { findAnchor, searchEvents } from './events.ts'
import type { Tables } from './tables.ts'

type Table = Exclude<keyof Tables, 'migrations'>

/** Everything that is copied, with what says in which order: keys of one row each. A table that is missing here does not compile. */
const TABLES: Readonly<Record<Table, readonly [string, ...string[]]>> = {
  counters: ['name'],
  resources: ['kind', 'name'],
  secrets: ['name'],
  accounts: ['user'],
  local_credentials: ['user'],
  invites: ['token_hash'],
  login_flows: ['id'],
  mfa_devices: ['id'],
  api_tokens: ['id'],
  mcp_names: ['what', 'server', 'original'],
  mcp_sessions: ['name'],
  oauth_records: ['kind', 'id'],
  upstream_records: ['kind', 'id'],
  events: ['seq'],
  event_anchor: ['id'],
  changes: ['seq'],
  used_ids: ['id'],
  leases: ['name'],
  attempts: ['key'],
}
const ROWS = 200
const PAGE = 500

export interface Cloned {
  /** Rows of each table that had any; the audit log is `events`. */
  rows: { table: string; count: number }[]
  /** Where the audit log was broken before it was copied; it is so in the copy. */
  broken: ChainFault | undefined
}

/** Whether nothing was ever kept there; a store that was opened has tables all the same. */
export async function isEmptyStore(db: Executor): Promise<boolean> {
  for (const table of Object.keys(TABLES)) {
    // The numbers that a new store begins with.
    if (table !== 'counters' && (await hasRows(db, table))) return false
  }
  return true
}

/**
 * Copies a whole store, of either type, to an empty one, of either type: all or nothing. While it runs nobody else writes to either. Revisions,
 * numbers and the hash chain stay what they are. @throws AppError failed_precondition when there is nothing to copy, or something where it goes,
 * cancelled by the signal.
 */
export async function cloneStore(from: Database, to: Database, signal: AbortSignal): Promise<Cloned> {
  return await from.transaction().execute(async (source) => {
    if (await isEmptyStore(source)) throw new AppError('failed_precondition', 'the source holds no cluster')
    return await to.transaction().execute(async (target) => {
      if (!(await isEmptyStore(target)))
        throw new AppError('failed_precondition', 'the destination is not empty: nothing there is written over')
      await sql`delete from counters`.execute(target)
      const rows: Cloned['rows'] = []
      for (const [table, keys] of Object.entries(TABLES)) {
        const count = await named(table, copyTable(source, target, { table, keys, signal }))
        if (count > 0) rows.push({ table, count })
      }
      return { rows, broken: await verifyCopy(source, target) }
    })
  })
}

/** Says of what fails which table it was. */
async function named<T>(table: string, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (thrown) {
    const { code, message } = toAppError(thrown)
    throw code === 'cancelled' ? thrown : new AppError(code, `${table}: ${message}`, { cause: thrown })
  }
}

interface Copy {
  table: string
  keys: readonly string[]
  signal: AbortSignal
}

async function copyTable(source: Executor, target: Executor, { table, keys, signal }: Copy): Promise<number> {
  const order = sql.join(keys.map((key) => sql.ref(key)))
  let count = 0
  for (let last: Record<string, unknown> | undefined; ;) {
    if (signal.aborted) throw new AppError('cancelled', 'stopped: nothing was copied')
    const after = last && sql`where (${order}) > (${sql.join(keys.map((key) => last?.[key]))})`
    const { rows } = await sql<Record<string, unknown>>`
      select * from ${sql.table(table)} ${after ?? sql``} order by ${order} limit ${sql.lit(ROWS)}`.execute(source)
    const [first] = rows
    if (!first) break
    const columns = Object.keys(first)
    const values = rows.map((row) => sql`(${sql.join(columns.map((column) => row[column]))})`)
    await sql`insert into ${sql.table(table)} (${sql.join(columns.map((column) => sql.ref(column)))}) values ${sql.join(values)}`.execute(
      target,
    )
    count += rows.length
    last = rows.at(-1)
  }
  return count
}

async function hasRows(db: Executor, table: string): Promise<boolean> {
  return (await sql`select 1 from ${sql.table(table)} limit 1`.execute(db)).rows.length > 0
}

/** Reads the audit log of the copy from beginning to end. A fault that the source has too is no fault of the copy. */
async function verifyCopy(source: Executor, target: Executor): Promise<Cloned['broken']> {
  const verdict = await verifyChain(readChain(target), await expectedFirst(target))
  if (verdict.ok) return undefined
  const before = await verifyChain(readChain(source), await expectedFirst(source))
  if (before.ok || before.firstBroken?.seq !== verdict.firstBroken?.seq)
    throw new AppError('internal', `the copy of the audit log is broken: ${verdict.firstBroken?.reason ?? ''}`)
  return before.firstBroken
}

/** Where a log begins of which the oldest events were forgotten. */
async function expectedFirst(db: Executor): Promise<{ expectFirst?: { seq: number; prev: string } }> {
  const anchor = await findAnchor(db)
  return anchor ? { expectFirst: { seq: anchor.seq + 1, prev: anchor.hash } } : {}
}

async function* readChain(db: Executor): AsyncGenerator<string> {
  for (let after: number | null | undefined; after !== null;) {
    const { events, next } = await searchEvents(db, { after, limit: PAGE })
    for (const event of events) yield renderChained(event.text, event)
    after = next
  }
}

import { z } from 'zod'
import { AppError } from '../lib/errors.ts'
import type { Executor } from './database.ts'
import type { Tables } from './tables.ts'

/** Times in milliseconds since 1970. `servers` and `roles` null: no restriction beyond the user's roles. */
export interface ApiTokenRow {
  id: string
  user: string
  name: string
  /** Of the secret; the secret itself is nowhere. */
  hash: string
  servers: string[] | null
  roles: string[] | null
  created_at: number
  created_by: string
  expires_at: number
  last_used_at: number | null
}

const TOUCH_EVERY_MS = 60_000

export async function createApiTokenRow(db: Executor, token: Omit<ApiTokenRow, 'last_used_at'>): Promise<void> {
  await db
    .insertInto('api_tokens')
    .values({ ...token, servers: renderList(token.servers), roles: renderList(token.roles), last_used_at: null })
    .execute()
}

/** Also an expired one: the caller compares, so that it can say which of the two it was. */
export async function findApiToken(db: Executor, id: string): Promise<ApiTokenRow | undefined> {
  const row = await db.selectFrom('api_tokens').selectAll().where('id', '=', id).executeTakeFirst()
  return row && parseRow(row)
}

/** Of one user, or of all; oldest first. */
export async function listApiTokenRows(db: Executor, user?: string): Promise<ApiTokenRow[]> {
  const all = db.selectFrom('api_tokens').selectAll().orderBy('created_at').orderBy('id')
  const rows = await (user === undefined ? all : all.where('user', '=', user)).execute()
  return rows.map(parseRow)
}

/** Throws `not_found`, also when the token is of another user than the given one. */
export async function deleteApiTokenRow(db: Executor, id: string, user?: string): Promise<ApiTokenRow> {
  const one = db.deleteFrom('api_tokens').where('id', '=', id).returningAll()
  const row = await (user === undefined ? one : one.where('user', '=', user)).executeTakeFirst()
  if (!row) throw new AppError('not_found', `API token ${JSON.stringify(id)} not found`)
  return parseRow(row)
}

/** Notes the use, at most once a minute: a busy token must not become a write for every call. */
export async function touchApiToken(db: Executor, id: string, now: number): Promise<void> {
  await db
    .updateTable('api_tokens')
    .set({ last_used_at: now })
    .where('id', '=', id)
    .where((where) => where.or([where('last_used_at', 'is', null), where('last_used_at', '<=', now - TOUCH_EVERY_MS)]))
    .execute()
}

/** Ids of what was removed. */
export async function deleteExpiredApiTokens(db: Executor, now: number): Promise<string[]> {
  const rows = await db.deleteFrom('api_tokens').where('expires_at', '<=', now).returning('id').execute()
  return rows.map(({ id }) => id)
}

/** Ids of what was removed. */
export async function deleteApiTokensOf(db: Executor, user: string): Promise<string[]> {
  const rows = await db.deleteFrom('api_tokens').where('user', '=', user).returning('id').execute()
  return rows.map(({ id }) => id)
}

function renderList(list: string[] | null): string | null {
  return list && JSON.stringify(list)
}

const listSchema = z.array(z.string())

function parseRow(row: Tables['api_tokens']): ApiTokenRow {
  const parseList = (text: string | null): string[] | null => (text === null ? null : listSchema.parse(JSON.parse(text)))
  return { ...row, servers: parseList(row.servers), roles: parseList(row.roles) }
}

import type { Executor } from './database.ts'
import type { Tables } from './tables.ts'

/**
 * One thing the authorization server remembers. Times are milliseconds since 1970.
 * `id` and `lookup` (a second id) are hashes of secrets; `document` is sealed. `grant_id` of a grant is its own.
 */
export type OAuthRecord = Tables['oauth_records']

/** Writes a record or replaces it; that it was used up stays true. */
export async function upsertOAuthRecord(db: Executor, record: Omit<OAuthRecord, 'consumed_at'>): Promise<void> {
  const { kind: _, id: __, created_at: ___, ...values } = record
  await db
    .insertInto('oauth_records')
    .values({ ...record, consumed_at: null })
    .onConflict((conflict) => conflict.columns(['kind', 'id']).doUpdateSet(values))
    .execute()
}

/** Writes a record unless there is one; of any number of callers exactly one hears true. */
export async function insertOAuthRecord(db: Executor, record: Omit<OAuthRecord, 'consumed_at'>): Promise<boolean> {
  const rows = await db
    .insertInto('oauth_records')
    .values({ ...record, consumed_at: null })
    .onConflict((conflict) => conflict.columns(['kind', 'id']).doNothing())
    .returning('id')
    .execute()
  return rows.length > 0
}

/** Also one that was used up or has expired: the caller tells these apart. */
export async function findOAuthRecord(db: Executor, kind: string, id: string): Promise<OAuthRecord | undefined> {
  return db.selectFrom('oauth_records').selectAll().where('kind', '=', kind).where('id', '=', id).executeTakeFirst()
}

export async function findOAuthRecordByLookup(db: Executor, kind: string, lookup: string): Promise<OAuthRecord | undefined> {
  return db.selectFrom('oauth_records').selectAll().where('kind', '=', kind).where('lookup', '=', lookup).executeTakeFirst()
}

/** Uses a record up: of any number of callers exactly one hears true. */
export async function consumeOAuthRecord(db: Executor, kind: string, id: string, now: number): Promise<boolean> {
  const rows = await db
    .updateTable('oauth_records')
    .set({ consumed_at: now })
    .where('kind', '=', kind)
    .where('id', '=', id)
    .where('consumed_at', 'is', null)
    .returning('id')
    .execute()
  return rows.length > 0
}

export async function deleteOAuthRecord(db: Executor, kind: string, id: string): Promise<void> {
  await db.deleteFrom('oauth_records').where('kind', '=', kind).where('id', '=', id).execute()
}

/** The records of one kind that came of a grant. */
export async function deleteOAuthRecordsOfGrant(db: Executor, kind: string, grantId: string): Promise<void> {
  await db.deleteFrom('oauth_records').where('kind', '=', kind).where('grant_id', '=', grantId).execute()
}

const GRANT = 'Grant'

/** The grant in force with this id. */
export async function findOAuthGrant(db: Executor, grantId: string, now: number): Promise<OAuthRecord | undefined> {
  return db
    .selectFrom('oauth_records')
    .selectAll()
    .where('kind', '=', GRANT)
    .where('grant_id', '=', grantId)
    .where('expires_at', '>', now)
    .executeTakeFirst()
}

/** Grants in force with whose they are, of one user or of all; oldest first. */
export async function listOAuthGrants(db: Executor, now: number, user?: string): Promise<(OAuthRecord & { user: string })[]> {
  const all = db
    .selectFrom('oauth_records')
    .innerJoin('accounts', 'accounts.id', 'oauth_records.account')
    .selectAll('oauth_records')
    .select('accounts.user as user')
    .where('kind', '=', GRANT)
    .where('expires_at', '>', now)
    .orderBy('created_at')
    .orderBy('oauth_records.id')
  return (user === undefined ? all : all.where('accounts.user', '=', user)).execute()
}

/** Of one kind and account, in force, the newest first. */
export async function listOAuthRecordsOf(db: Executor, kind: string, account: string, now: number): Promise<OAuthRecord[]> {
  return db
    .selectFrom('oauth_records')
    .selectAll()
    .where('kind', '=', kind)
    .where('account', '=', account)
    .where('expires_at', '>', now)
    .orderBy('created_at', 'desc')
    .orderBy('id')
    .limit(100)
    .execute()
}

/** Ends a grant with everything that came of it; the grant as it was, undefined when there is none. */
export async function deleteOAuthGrant(db: Executor, grantId: string): Promise<OAuthRecord | undefined> {
  const rows = await db.deleteFrom('oauth_records').where('grant_id', '=', grantId).returningAll().execute()
  return rows.find(({ kind }) => kind === GRANT)
}

/** Ends the sign-ins and grants of an account; ids of the grants. */
export async function deleteOAuthRecordsOf(db: Executor, account: string): Promise<string[]> {
  const rows = await db.deleteFrom('oauth_records').where('account', '=', account).returning(['kind', 'grant_id']).execute()
  return grantIds(rows)
}

/** Ends the grants of a client; their ids. */
export async function deleteOAuthRecordsOfClient(db: Executor, clientId: string): Promise<string[]> {
  const rows = await db.deleteFrom('oauth_records').where('client_id', '=', clientId).returning(['kind', 'grant_id']).execute()
  return grantIds(rows)
}

export async function countOAuthRecords(db: Executor, kind: string, now: number): Promise<number> {
  const { count } = await db
    .selectFrom('oauth_records')
    .select((select) => select.fn.countAll<number>().as('count'))
    .where('kind', '=', kind)
    .where((where) => where.or([where('expires_at', 'is', null), where('expires_at', '>', now)]))
    .executeTakeFirstOrThrow()
  return Number(count)
}

/** Records of a kind that belong to nobody. */
export async function countAnonymousOAuthRecords(db: Executor, kind: string, now: number): Promise<number> {
  const { count } = await db
    .selectFrom('oauth_records')
    .select((select) => select.fn.countAll<number>().as('count'))
    .where('kind', '=', kind)
    .where('account', 'is', null)
    .where('expires_at', '>', now)
    .executeTakeFirstOrThrow()
  return Number(count)
}

/** Lets a record live longer; never shorter. */
export async function extendOAuthRecord(db: Executor, kind: string, id: string, expiresAt: number): Promise<void> {
  await db
    .updateTable('oauth_records')
    .set({ expires_at: expiresAt })
    .where('kind', '=', kind)
    .where('id', '=', id)
    .where('expires_at', '<', expiresAt)
    .execute()
}

/** Ids of the grants among what was removed. */
export async function deleteExpiredOAuthRecords(db: Executor, now: number): Promise<string[]> {
  const rows = await db.deleteFrom('oauth_records').where('expires_at', '<=', now).returning(['kind', 'grant_id']).execute()
  return grantIds(rows)
}

function grantIds(rows: readonly Pick<OAuthRecord, 'kind' | 'grant_id'>[]): string[] {
  return rows.flatMap(({ kind, grant_id }) => (kind === GRANT && grant_id !== null ? [grant_id] : []))
}

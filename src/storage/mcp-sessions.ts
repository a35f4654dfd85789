import type { Executor } from './database.ts'

/** What proxies remember together of one session, or have for each other. Times are ms since 1970. */
export interface KeptSession {
  name: string
  /** Who may have so many of them. */
  owner: string
  body: string
  /** Of what stands there now, which this replaces; 0 for nothing. */
  revision: number
  expiresAt: number
}

/** Of one owner; the oldest go. */
const MAX_PER_OWNER = 200

/**
 * Keeps it in place of what has the same name, unless that is another revision than the caller knows: then false, and nothing is changed. What has
 * expired counts as nothing. To be called in a transaction.
 */
export async function keepSession(tx: Executor, kept: KeptSession, now: number, maxPerOwner = MAX_PER_OWNER): Promise<boolean> {
  const { name, owner, body, revision, expiresAt } = kept
  const standing = (await findSession(tx, name, now))?.revision ?? 0
  if (standing !== revision) return false
  const row = { owner, body, revision: revision + 1, updated_at: now, expires_at: expiresAt }
  await tx
    .insertInto('mcp_sessions')
    .values({ name, ...row })
    .onConflict((conflict) => conflict.column('name').doUpdateSet(row))
    .execute()
  await dropOldest(tx, owner, maxPerOwner)
  return true
}

export async function findSession(db: Executor, name: string, now: number): Promise<{ body: string; revision: number } | undefined> {
  return await db
    .selectFrom('mcp_sessions')
    .select(['body', 'revision'])
    .where('name', '=', name)
    .where('expires_at', '>', now)
    .executeTakeFirst()
}

/** Takes it out: of several who take the same, exactly one has it. */
export async function takeSession(db: Executor, name: string, now: number): Promise<string | undefined> {
  const row = await db.deleteFrom('mcp_sessions').where('name', '=', name).returning(['body', 'expires_at']).executeTakeFirst()
  return row && row.expires_at > now ? row.body : undefined
}

export async function deleteExpiredSessions(db: Executor, now: number): Promise<void> {
  await db.deleteFrom('mcp_sessions').where('expires_at', '<=', now).execute()
}

async function dropOldest(tx: Executor, owner: string, max: number): Promise<void> {
  const over = tx
    .selectFrom('mcp_sessions')
    .select('name')
    .where('owner', '=', owner)
    .orderBy('updated_at', 'desc')
    .orderBy('name')
    .limit(1000)
    .offset(max)
  await tx.deleteFrom('mcp_sessions').where('name', 'in', over).execute()
}

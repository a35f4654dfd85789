import type { Executor } from './database.ts'

/** Uses an id up until `expiresAt` (ms since 1970): of any number of callers, in whichever processes, exactly one hears true. */
export async function useOnce(db: Executor, id: string, expiresAt: number): Promise<boolean> {
  const rows = await db
    .insertInto('used_ids')
    .values({ id, expires_at: expiresAt })
    .onConflict((conflict) => conflict.column('id').doNothing())
    .returning('id')
    .execute()
  return rows.length > 0
}

/** Whether `holder` does alone, until `expiresAt` (ms since 1970), what the name stands for; who has it already gets more time. */
export async function takeLease(db: Executor, name: string, holder: string, expiresAt: number, now: number): Promise<boolean> {
  const rows = await db
    .insertInto('leases')
    .values({ name, holder, expires_at: expiresAt })
    .onConflict((conflict) =>
      conflict
        .column('name')
        .doUpdateSet({ holder, expires_at: expiresAt })
        .where((where) => where.or([where('leases.expires_at', '<=', now), where('leases.holder', '=', holder)])),
    )
    .returning('name')
    .execute()
  return rows.length > 0
}

export async function dropLease(db: Executor, name: string, holder: string): Promise<void> {
  await db.deleteFrom('leases').where('name', '=', name).where('holder', '=', holder).execute()
}

/** Counts one more of `key` in its window, which begins with the first. Returns how many, and when the window ends (ms since 1970). */
export async function countAttempt(
  db: Executor,
  key: string,
  windowMs: number,
  now: number,
): Promise<{ count: number; expiresAt: number }> {
  const fresh = now + windowMs
  const row = await db
    .insertInto('attempts')
    .values({ key, count: 1, expires_at: fresh })
    .onConflict((conflict) =>
      conflict.column('key').doUpdateSet((set) => ({
        count: set
          .case()
          .when('attempts.expires_at', '<=', now)
          .then(1)
          .else(set('attempts.count', '+', 1))
          .end(),
        expires_at: set.case().when('attempts.expires_at', '<=', now).then(fresh).else(set.ref('attempts.expires_at')).end(),
      })),
    )
    .returning(['count', 'expires_at'])
    .executeTakeFirstOrThrow()
  return { count: row.count, expiresAt: row.expires_at }
}

/** Takes one count back. */
export async function uncountAttempt(db: Executor, key: string): Promise<void> {
  await db
    .updateTable('attempts')
    .set((set) => ({ count: set('count', '-', 1) }))
    .where('key', '=', key)
    .where('count', '>', 0)
    .execute()
}

export async function forgetAttempts(db: Executor, key: string): Promise<void> {
  await db.deleteFrom('attempts').where('key', '=', key).execute()
}

/** Forgets what is over. */
export async function deleteExpiredMarks(db: Executor, now: number): Promise<void> {
  await db.deleteFrom('used_ids').where('expires_at', '<=', now).execute()
  await db.deleteFrom('leases').where('expires_at', '<=', now).execute()
  await db.deleteFrom('attempts').where('expires_at', '<=', now).execute()
}

import type { Executor } from './database.ts'

/** A value as it was sealed; what it says is known only to who holds the key. */
export async function findSecret(db: Executor, name: string): Promise<string | undefined> {
  const row = await db.selectFrom('secrets').select('sealed').where('name', '=', name).executeTakeFirst()
  return row?.sealed
}

export async function setSecret(db: Executor, name: string, sealed: string): Promise<void> {
  await db
    .insertInto('secrets')
    .values({ name, sealed })
    .onConflict((conflict) => conflict.column('name').doUpdateSet({ sealed }))
    .execute()
}

/** The value that stands afterwards: of several that begin at once, all get that of the first. */
export async function insertSecretIfAbsent(db: Executor, name: string, sealed: string): Promise<string> {
  await db
    .insertInto('secrets')
    .values({ name, sealed })
    .onConflict((conflict) => conflict.column('name').doNothing())
    .execute()
  return (await findSecret(db, name)) ?? sealed
}

/** Whether there was one. */
export async function deleteSecret(db: Executor, name: string): Promise<boolean> {
  const rows = await db.deleteFrom('secrets').where('name', '=', name).returning('name').execute()
  return rows.length > 0
}

import { z } from 'zod'
import { transact } from './database.ts'
import type { Executor } from './database.ts'

export interface LocalCredential {
  user: string
  password_hash: string
  updated_at: number
}

export async function findLocalCredential(db: Executor, user: string): Promise<LocalCredential | undefined> {
  return db.selectFrom('local_credentials').selectAll().where('user', '=', user).executeTakeFirst()
}

/** Sets the password. */
export async function setLocalCredential(db: Executor, credential: LocalCredential): Promise<void> {
  const { user: _, ...values } = credential
  await db
    .insertInto('local_credentials')
    .values(credential)
    .onConflict((conflict) => conflict.column('user').doUpdateSet(values))
    .execute()
}

/** The id that certificates of this user must carry to count; undefined when there is no such user. */
export async function findAccountId(db: Executor, user: string): Promise<string | undefined> {
  const row = await db.selectFrom('accounts').select('id').where('user', '=', user).executeTakeFirst()
  return row?.id
}

/** Whose account this is; undefined when the user was reset or removed since. */
export async function findUserOfAccount(db: Executor, id: string): Promise<string | undefined> {
  const row = await db.selectFrom('accounts').select('user').where('id', '=', id).executeTakeFirst()
  return row?.user
}

/** From now on only certificates with this id count. */
export async function setAccountId(db: Executor, user: string, id: string): Promise<void> {
  await db
    .insertInto('accounts')
    .values({ user, id })
    .onConflict((conflict) => conflict.column('user').doUpdateSet({ id }))
    .execute()
}

/** Drops password, second factors, open links and account id of a user; whether there was a password. */
export function deleteLocalCredential(db: Executor, user: string): Promise<boolean> {
  return transact(db, async (tx) => {
    await tx.deleteFrom('accounts').where('user', '=', user).execute()
    await tx.deleteFrom('invites').where('user', '=', user).execute()
    await tx.deleteFrom('mfa_devices').where('user', '=', user).execute()
    await tx.deleteFrom('login_flows').where('user', '=', user).execute()
    const rows = await tx.deleteFrom('local_credentials').where('user', '=', user).returning('user').execute()
    return rows.length > 0
  })
}

const inviteSchema = z.object({
  token_hash: z.string(),
  user: z.string(),
  purpose: z.enum(['signup', 'reset']),
  expires_at: z.number(),
  created_at: z.number(),
})
/** A one-time link to set a password. Only the hash of its secret is kept. */
export type Invite = z.infer<typeof inviteSchema>

/** Links of the same user made before are worth nothing from now on. */
export function createInvite(db: Executor, invite: Invite): Promise<void> {
  return transact(db, async (tx) => {
    await tx.deleteFrom('invites').where('user', '=', invite.user).execute()
    await tx.insertInto('invites').values(invite).execute()
  })
}

export async function findInvite(db: Executor, tokenHash: string, now: number): Promise<Invite | undefined> {
  const row = await db
    .selectFrom('invites')
    .selectAll()
    .where('token_hash', '=', tokenHash)
    .where('expires_at', '>', now)
    .executeTakeFirst()
  return row && inviteSchema.parse(row)
}

/** Uses the link up: of any number of callers exactly one gets it. Undefined when it is unknown, used or expired. */
export async function consumeInvite(db: Executor, tokenHash: string, now: number): Promise<Invite | undefined> {
  const row = await db
    .deleteFrom('invites')
    .where('token_hash', '=', tokenHash)
    .where('expires_at', '>', now)
    .returningAll()
    .executeTakeFirst()
  return row && inviteSchema.parse(row)
}

export async function deleteExpiredInvites(db: Executor, now: number): Promise<void> {
  await db.deleteFrom('invites').where('expires_at', '<=', now).execute()
}

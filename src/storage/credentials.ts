import { z } from 'zod'
import { AppError } from '../lib/errors.ts'
import { transact } from './database.ts'
import type { Executor } from './database.ts'

export interface LocalCredential {
  user: string
  password_hash: string
  totp_sealed: string | null
  updated_at: number
}

export async function findLocalCredential(db: Executor, user: string): Promise<LocalCredential | undefined> {
  return db.selectFrom('local_credentials').selectAll().where('user', '=', user).executeTakeFirst()
}

/** Sets password and second factor together; null is no second factor. */
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

/** Drops password, second factor, open links and account id of a user; whether there was a password. */
export function deleteLocalCredential(db: Executor, user: string): Promise<boolean> {
  return transact(db, async (tx) => {
    await tx.deleteFrom('accounts').where('user', '=', user).execute()
    await tx.deleteFrom('invites').where('user', '=', user).execute()
    await tx.deleteFrom('used_codes').where('user', '=', user).execute()
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

const MAX_LOGIN_FLOWS = 10_000
const MAX_FLOW_BYTES = 16 * 1024

/** Anybody may begin a sign-in, so their number and size are bounded: beyond it `resource_exhausted`. */
export async function createLoginFlow(
  db: Executor,
  flow: { id: string; document: unknown; expires_at: number },
  now: number,
): Promise<void> {
  const document = JSON.stringify(flow.document)
  if (Buffer.byteLength(document) > MAX_FLOW_BYTES) throw new AppError('invalid_argument', 'the sign-in request is too large')
  await transact(db, async (tx) => {
    await tx.deleteFrom('login_flows').where('expires_at', '<=', now).execute()
    const { count } = await tx
      .selectFrom('login_flows')
      .select((select) => select.fn.countAll<number>().as('count'))
      .executeTakeFirstOrThrow()
    if (count >= MAX_LOGIN_FLOWS) throw new AppError('resource_exhausted', 'too many sign-ins are under way: try again in some minutes')
    await tx.insertInto('login_flows').values({ id: flow.id, document, expires_at: flow.expires_at }).execute()
  })
}

/** The document of a flow under way. */
export async function findLoginFlow(db: Executor, id: string, now: number): Promise<unknown> {
  const row = await db.selectFrom('login_flows').select('document').where('id', '=', id).where('expires_at', '>', now).executeTakeFirst()
  return row && JSON.parse(row.document)
}

/** Replaces the document of a flow under way; false when it is gone. */
export async function updateLoginFlow(db: Executor, id: string, document: unknown, now: number): Promise<boolean> {
  const rows = await db
    .updateTable('login_flows')
    .set({ document: JSON.stringify(document) })
    .where('id', '=', id)
    .where('expires_at', '>', now)
    .returning('id')
    .execute()
  return rows.length > 0
}

/** Ends a flow: of any number of callers exactly one gets its document. */
export async function consumeLoginFlow(db: Executor, id: string, now: number): Promise<unknown> {
  const row = await db.deleteFrom('login_flows').where('id', '=', id).where('expires_at', '>', now).returning('document').executeTakeFirst()
  return row && JSON.parse(row.document)
}

/** Steps of 30 s for which a used code is remembered; far more than any verifier accepts. */
const REMEMBERED_STEPS = 100

/** False when the code of this time step was used before (RFC 6238 section 5.2: a code is accepted once). */
export function markTotpUsed(db: Executor, user: string, counter: number): Promise<boolean> {
  return transact(db, async (tx) => {
    await tx
      .deleteFrom('used_codes')
      .where('user', '=', user)
      .where('code_counter', '<', counter - REMEMBERED_STEPS)
      .execute()
    const rows = await tx
      .insertInto('used_codes')
      .values({ user, code_counter: counter })
      .onConflict((conflict) => conflict.columns(['user', 'code_counter']).doNothing())
      .returning('user')
      .execute()
    return rows.length > 0
  })
}

export function deleteExpiredInvites(db: Executor, now: number): Promise<void> {
  return transact(db, async (tx) => {
    await tx.deleteFrom('invites').where('expires_at', '<=', now).execute()
    await tx.deleteFrom('login_flows').where('expires_at', '<=', now).execute()
  })
}

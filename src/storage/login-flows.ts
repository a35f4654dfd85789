import { AppError } from '../lib/errors.ts'
import { transact } from './database.ts'
import type { Executor } from './database.ts'

export interface LoginFlow {
  id: string
  /** Whence it was begun, as far as whoever has one such address has all of it. */
  address: string
  /** Whose it is, once that is proven. */
  user?: string
  document: unknown
  expires_at: number
}

const MAX_FLOWS = 10_000
const MAX_FLOWS_PER_ADDRESS = 1000
const MAX_FLOWS_PER_USER = 20
const MAX_FLOW_BYTES = 16 * 1024

/**
 * Keeps what a sign-in under way needs. Anybody may begin one, so their number and size are bounded: `resource_exhausted` for an address
 * that has begun too many. One user's newest push out the oldest of the same user, and where all places are taken, the oldest of the address
 * that has most makes room: a flood pushes out itself.
 */
export async function createLoginFlow(db: Executor, flow: LoginFlow, now: number): Promise<void> {
  const document = JSON.stringify(flow.document)
  if (Buffer.byteLength(document) > MAX_FLOW_BYTES) throw new AppError('invalid_argument', 'the sign-in request is too large')
  const { id, address, user = null, expires_at } = flow
  await transact(db, async (tx) => {
    await deleteExpiredLoginFlows(tx, now)
    if ((await countOf(tx, address)) >= MAX_FLOWS_PER_ADDRESS)
      throw new AppError('resource_exhausted', 'too many sign-ins from your address are under way: try again in some minutes')
    if (user !== null) await dropOldestOfUser(tx, user)
    if ((await countOf(tx)) >= MAX_FLOWS) await makeRoom(tx)
    await tx.insertInto('login_flows').values({ id, address, user, document, created_at: now, expires_at }).execute()
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

export async function deleteExpiredLoginFlows(db: Executor, now: number): Promise<void> {
  await db.deleteFrom('login_flows').where('expires_at', '<=', now).execute()
}

async function countOf(db: Executor, address?: string): Promise<number> {
  const all = db.selectFrom('login_flows').select((select) => select.fn.countAll<number>().as('count'))
  const { count } = await (address === undefined ? all : all.where('address', '=', address)).executeTakeFirstOrThrow()
  return Number(count)
}

async function dropOldestOfUser(db: Executor, user: string): Promise<void> {
  const rows = await db.selectFrom('login_flows').select('id').where('user', '=', user).orderBy('created_at', 'desc').execute()
  const surplus = rows.slice(MAX_FLOWS_PER_USER - 1).map(({ id }) => id)
  if (surplus.length > 0) await db.deleteFrom('login_flows').where('id', 'in', surplus).execute()
}

async function makeRoom(db: Executor): Promise<void> {
  const busiest = await db
    .selectFrom('login_flows')
    .select('address')
    .groupBy('address')
    .orderBy((order) => order.fn.countAll(), 'desc')
    .orderBy((order) => order.fn.min('created_at'))
    .limit(1)
    .executeTakeFirst()
  const oldest = await db
    .selectFrom('login_flows')
    .select('id')
    .where('address', '=', busiest?.address ?? '')
    .orderBy('created_at')
    .limit(1)
    .executeTakeFirst()
  if (oldest) await db.deleteFrom('login_flows').where('id', '=', oldest.id).execute()
}

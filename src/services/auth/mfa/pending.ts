import { createHash } from 'node:crypto'
import { z } from 'zod'
import { AppError } from '../../../lib/errors.ts'
import { consumeLoginFlow, createLoginFlow, findLoginFlow } from '../../../storage/login-flows.ts'
import type { AuthContext } from '../context.ts'
import { provenFlow } from '../limits.ts'
import type { Asked } from '../sign-in.ts'

const PENDING_MS = 5 * 60_000

const pendingSchema = z.object({ user: z.string(), account: z.string(), flow: z.string() })
/** Somebody whose password was right, on one page. */
export type Pending = z.infer<typeof pendingSchema>

/** Remembers who was asked for a second factor; the id is what the page takes along. */
export async function keepPending(context: AuthContext, { user, account }: Asked, flow: string): Promise<string> {
  const id = Buffer.from(context.random(32)).toString('base64url')
  const now = context.now()
  const document: Pending = { user, account, flow }
  await createLoginFlow(context.db, { id: keyOf(id), ...provenFlow(user), document, expires_at: now + PENDING_MS }, now)
  return id
}

/** Throws `not_found` when it is over, or of another page. */
export async function getPending(context: AuthContext, id: string, flow: string): Promise<Pending> {
  const pending = pendingSchema.safeParse(await findLoginFlow(context.db, keyOf(id), context.now()))
  if (!pending.success || pending.data.flow !== flow) throw gone()
  return pending.data
}

/** Of any number of callers exactly one goes on; the others get `not_found`. */
export async function endPending(context: AuthContext, id: string): Promise<void> {
  if ((await consumeLoginFlow(context.db, keyOf(id), context.now())) === undefined) throw gone()
}

function gone(): AppError {
  return new AppError('not_found', 'this took too long, or was done already: sign in again')
}

function keyOf(id: string): string {
  return `pending:${createHash('sha256').update(id).digest('hex')}`
}

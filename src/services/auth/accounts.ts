import { deleteApiTokensOf } from '../../storage/api-tokens.ts'
import { deleteLocalCredential, setAccountId } from '../../storage/credentials.ts'
import type { Executor } from '../../storage/database.ts'
import type { AuthContext } from './context.ts'

/**
 * Ends everything by which a user could come in – password, second factor, links, API tokens, certificates – and lets the user begin anew:
 * whoever held a name before has nothing of who holds it now. Returns the ids of the API tokens that ended.
 */
export async function renewAccount(context: Pick<AuthContext, 'random'>, tx: Executor, user: string): Promise<string[]> {
  const tokens = await removeAccount(tx, user)
  await setAccountId(tx, user, Buffer.from(context.random(16)).toString('hex'))
  return tokens
}

/** The same for a user who is gone. */
export async function removeAccount(tx: Executor, user: string): Promise<string[]> {
  await deleteLocalCredential(tx, user)
  return await deleteApiTokensOf(tx, user)
}

import { deleteApiTokensOf } from '../../storage/api-tokens.ts'
import { deleteLocalCredential, findAccountId, setAccountId } from '../../storage/credentials.ts'
import type { Executor } from '../../storage/database.ts'
import { deleteOAuthRecordsOf, deleteOAuthRecordsOfClient } from '../../storage/oauth.ts'
import { deleteUpstreamRecordsOf } from '../../storage/upstream-records.ts'
import { revoke } from './changes.ts'
import type { AuthContext } from './context.ts'
import { clientCredentialId } from './oauth/access-tokens.ts'
import type { AnyResource } from './resource-rules.ts'

/** Ids of credentials that are worth nothing any more. */
export interface EndedCredentials {
  apiTokens: string[]
  /** What people allowed MCP clients. */
  oauthGrants: string[]
}

/**
 * Ends everything by which a user could come in – password, second factor, links, API tokens, MCP clients, certificates – and lets the user
 * begin anew: whoever held a name before has nothing of who holds it now.
 */
export async function renewAccount(context: Pick<AuthContext, 'random'>, tx: Executor, user: string): Promise<EndedCredentials> {
  const ended = await removeAccount(tx, user)
  await setAccountId(tx, user, Buffer.from(context.random(16)).toString('hex'))
  return ended
}

/** The same for a user who is gone. */
export async function removeAccount(tx: Executor, user: string): Promise<EndedCredentials> {
  const account = await findAccountId(tx, user)
  if (account !== undefined) await deleteUpstreamRecordsOf(tx, account)
  await deleteLocalCredential(tx, user)
  return {
    apiTokens: await deleteApiTokensOf(tx, user),
    oauthGrants: account === undefined ? [] : await deleteOAuthRecordsOf(tx, account),
  }
}

/** Ends the credentials that rest on a resource which is being deleted. */
export async function endCredentialsOf(
  { live }: Pick<AuthContext, 'live'>,
  tx: Executor,
  resource: AnyResource,
): Promise<EndedCredentials> {
  const { name } = resource.metadata
  if (resource.kind === 'user') return await removeAccount(tx, name)
  if (resource.kind === 'oauth_client')
    return { apiTokens: [], oauthGrants: [...(await deleteOAuthRecordsOfClient(tx, name)), clientCredentialId(resource)] }
  if (resource.kind !== 'bot') return { apiTokens: [], oauthGrants: [] }
  return {
    apiTokens: [],
    oauthGrants: live
      .list('oauth_client')
      .filter(({ spec }) => spec.bot === name)
      .map(clientCredentialId),
  }
}

/** Tells everybody who serves by one of these, within the transaction that takes them out of the store. */
export async function revokeEnded(
  context: Pick<AuthContext, 'now'>,
  tx: Executor,
  { apiTokens, oauthGrants }: EndedCredentials,
): Promise<void> {
  await revoke(context, tx, 'api_token', apiTokens)
  await revoke(context, tx, 'oauth', oauthGrants)
}

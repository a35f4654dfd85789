import { z } from 'zod'
import type { OAuthGrant } from '../../../api/oauth-grants.ts'
import { buildEvent } from '../../../audit/build-event.ts'
import { AppError } from '../../../lib/errors.ts'
import { findUserOfAccount } from '../../../storage/credentials.ts'
import { deleteOAuthGrant, findOAuthGrant, listOAuthGrants } from '../../../storage/oauth.ts'
import type { OAuthRecord } from '../../../storage/oauth.ts'
import { revoke } from '../changes.ts'
import type { AuthContext, Caller } from '../context.ts'
import { callerFields } from '../event-fields.ts'
import { openRecord } from './sealed-records.ts'

const grantSchema = z.object({
  /** Scopes by endpoint. */
  resources: z.record(z.string(), z.string()).default({}),
  clientName: z.string().optional(),
  /** The connector whose identity provider allowed it, in place of the person. */
  connector: z.string().optional(),
})

/** What was allowed, as it is kept. */
export function grantOf(context: Pick<AuthContext, 'sealer'>, record: OAuthRecord): z.infer<typeof grantSchema> {
  return grantSchema.parse(openRecord(context, record))
}

/** What is allowed to MCP clients now, by one user or by all; oldest first. */
export async function listGrants(context: AuthContext, user?: string): Promise<OAuthGrant[]> {
  const records = await listOAuthGrants(context.db, context.now(), user)
  return records.map((record) => render(context, record, record.user))
}

/** One that is in force. */
export async function findGrant(context: AuthContext, id: string): Promise<OAuthGrant | undefined> {
  const record = await findOAuthGrant(context.db, id, context.now())
  const user = record?.account ? await findUserOfAccount(context.db, record.account) : undefined
  return record && user !== undefined ? render(context, record, user) : undefined
}

/** Ends a grant with its tokens and live sessions; throws `not_found`. */
export async function revokeGrant(
  context: AuthContext,
  { id, user, client_id }: OAuthGrant,
  caller: Caller,
  reason: string,
): Promise<void> {
  await context.journal.commit(async (tx) => {
    if (!(await deleteOAuthGrant(tx, id))) throw new AppError('not_found', `OAuth grant ${JSON.stringify(id)} not found`)
    await revoke(context, tx, 'oauth', [id])
    const event = { ...callerFields(caller), success: true, name: user, client_id, grant_id: id, reason }
    return { output: undefined, events: [buildEvent('oauth.grant.revoke', event, context.build)] }
  })
}

function render(context: AuthContext, record: OAuthRecord, user: string): OAuthGrant {
  const { resources, clientName } = grantOf(context, record)
  return {
    id: record.grant_id ?? '',
    user,
    client_id: record.client_id ?? '',
    client_name: clientName ?? null,
    resources: Object.keys(resources),
    scope: [...new Set(Object.values(resources).flatMap((scope) => scope.split(' ')))].join(' '),
    created: new Date(record.created_at).toISOString(),
    expires: new Date(record.expires_at ?? 0).toISOString(),
  }
}

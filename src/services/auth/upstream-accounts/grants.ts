import { z } from 'zod'
import type { UpstreamAccount } from '../../../api/upstream-accounts.ts'
import { buildEvent } from '../../../audit/build-event.ts'
import { AppError } from '../../../lib/errors.ts'
import type { App } from '../../../resources/app.ts'
import { SIGN_IN_PREFIX } from '../../../resources/feed.ts'
import { findUserOfAccount } from '../../../storage/credentials.ts'
import {
  findUpstreamRecord,
  listUpstreamRecords,
  takeUpstreamRecord,
  upsertUpstreamRecord,
  type UpstreamRecord,
} from '../../../storage/upstream-records.ts'
import { revoke } from '../changes.ts'
import type { AuthContext, Caller } from '../context.ts'
import { callerFields } from '../event-fields.ts'
import { clientSchema } from './clients.ts'
import { openDocument, sealDocument } from './sealed-documents.ts'
import type { Tokens } from './token-endpoint.ts'

/** The account of a user at an MCP server. */
export const grantSchema = z.object({
  /** Where the tokens go, as the app said when they were given: nowhere else. */
  uri: z.string(),
  resource: z.string(),
  issuer: z.string(),
  tokenEndpoint: z.string(),
  client: clientSchema,
  accessToken: z.string(),
  expiresAt: z.number().optional(),
  refreshToken: z.string().optional(),
  scope: z.string().optional(),
  /** When the tokens were renewed, ms since 1970; absent for the first ones. */
  renewedAt: z.number().optional(),
})
export type Grant = z.infer<typeof grantSchema>

/** Undefined when there is none, or one for another address than the app has now. */
export async function findGrant(
  context: AuthContext,
  account: string,
  app: App,
): Promise<{ record: UpstreamRecord; grant: Grant } | undefined> {
  const [record] = await listUpstreamRecords(context.db, 'grant', { account, app: app.metadata.name })
  const grant = record && openGrant(context, record)
  return record && grant && grant.uri === app.spec.uri ? { record, grant } : undefined
}

export function openGrant(context: AuthContext, record: UpstreamRecord): Grant {
  return grantSchema.parse(openDocument(context, record))
}

/** In place of the account that the user had there before. */
export async function saveGrant(
  context: AuthContext,
  caller: Caller,
  user: string,
  account: string,
  app: App,
  grant: Grant,
): Promise<void> {
  const { name } = app.metadata
  const id = Buffer.from(context.random(16)).toString('hex')
  const key = { kind: 'grant', id } as const
  await context.journal.commit(async (tx) => {
    const before = await listUpstreamRecords(tx, 'grant', { account, app: name })
    for (const record of before) await takeUpstreamRecord(tx, 'grant', record.id)
    const created_at = context.now()
    await upsertUpstreamRecord(tx, {
      ...key,
      account,
      app: name,
      document: sealDocument(context, key, grant),
      created_at,
      expires_at: null,
    })
    await revoke(
      context,
      tx,
      'upstream_account',
      before.map((record) => record.id),
    )
    await revoke(context, tx, 'upstream_sign_in', [SIGN_IN_PREFIX + user])
    const event = { ...callerFields(caller), user, success: true, server: name, resource: grant.resource, scope: grant.scope ?? '' }
    return { output: undefined, events: [buildEvent('upstream_account.connect', event, context.build)] }
  })
}

/** Ends an account; tokens of it that agents hold are dropped at once. Throws `not_found`. */
export async function dropGrant(context: AuthContext, id: string, caller: Caller, reason: string): Promise<void> {
  await context.journal.commit(async (tx) => {
    const record = await takeUpstreamRecord(tx, 'grant', id)
    if (!record) throw new AppError('not_found', `upstream account ${JSON.stringify(id)} not found`)
    const user = await findUserOfAccount(tx, record.account ?? '')
    const event = { ...callerFields(caller), ...(user !== undefined && { name: user }), success: true, server: record.app, reason }
    await revoke(context, tx, 'upstream_account', [id])
    if (user !== undefined) await revoke(context, tx, 'upstream_sign_in', [SIGN_IN_PREFIX + user])
    return { output: undefined, events: [buildEvent('upstream_account.disconnect', event, context.build)] }
  })
}

/** Without anything secret; of one user or of all, oldest first. */
export async function listAccounts(context: AuthContext, account?: string): Promise<UpstreamAccount[]> {
  const records = await listUpstreamRecords(context.db, 'grant', { account })
  return (await Promise.all(records.map((record) => describe(context, record)))).filter((item) => item !== undefined)
}

export async function findAccount(context: AuthContext, id: string): Promise<UpstreamAccount | undefined> {
  const record = await findUpstreamRecord(context.db, 'grant', id)
  return record && (await describe(context, record))
}

async function describe(context: AuthContext, record: UpstreamRecord): Promise<UpstreamAccount | undefined> {
  const user = await findUserOfAccount(context.db, record.account ?? '')
  if (user === undefined) return undefined
  const { issuer, resource, scope } = openGrant(context, record)
  return {
    id: record.id,
    user,
    server: record.app,
    issuer,
    resource,
    scope: scope ?? '',
    created: new Date(record.created_at).toISOString(),
  }
}

/** What a grant holds after tokens came; what the answer leaves out stays what it was. */
export function withTokens(grant: Omit<Grant, 'accessToken'>, tokens: Tokens): Grant {
  const { expiresAt: _, ...kept } = grant
  return {
    ...kept,
    accessToken: tokens.accessToken,
    ...(tokens.expiresAt !== undefined && { expiresAt: tokens.expiresAt }),
    ...(tokens.refreshToken !== undefined && { refreshToken: tokens.refreshToken }),
    ...(tokens.scope !== undefined && { scope: tokens.scope }),
  }
}

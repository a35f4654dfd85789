import type { ApiToken } from '../../../api/api-tokens.ts'
import type { OutputOf, ParsedInputOf } from '../../../api/route.ts'
import type { ROUTES } from '../../../api/routes.ts'
import { buildEvent } from '../../../audit/build-event.ts'
import { createApiToken as mintApiToken } from '../../../ca/api-token.ts'
import { renderDuration } from '../../../lib/duration.ts'
import { AppError } from '../../../lib/errors.ts'
import type { Identity } from '../../../resources/identity.ts'
import { createApiTokenRow, deleteApiTokenRow, findApiToken, listApiTokenRows } from '../../../storage/api-tokens.ts'
import type { ApiTokenRow } from '../../../storage/api-tokens.ts'
import { authorize } from '../authorize.ts'
import { revoke } from '../changes.ts'
import type { AuthContext, KnownCaller } from '../context.ts'
import { callerFields } from '../event-fields.ts'

type Input<N extends keyof typeof ROUTES> = ParsedInputOf<(typeof ROUTES)[N]>

const KIND = 'api_token'

export async function createApiToken(
  context: AuthContext,
  input: Input<'createApiToken'>,
  caller: KnownCaller,
): Promise<OutputOf<typeof ROUTES.createApiToken>> {
  // Who finds a token must not be able to make a lasting or wider one of it.
  if (caller.identity.credential === 'api_token')
    throw new AppError('permission_denied', 'an API token cannot make another one: sign in with tsh login')
  if (caller.identity.kind === 'bot') throw new AppError('permission_denied', 'bots have no API tokens: tbot keeps their identities fresh')
  const owner = input.user ?? ownName(caller.identity)
  if (owner !== ownName(caller.identity)) await authorize(context, caller, KIND, 'create')
  if (owner === undefined) throw new AppError('invalid_argument', 'user: say whose token it is to be')
  const ttlMs = input.ttl === undefined ? context.apiTokens.defaultTtlMs : input.ttl * 1000
  const { maxTtlMs } = context.apiTokens
  if (ttlMs > maxTtlMs)
    throw new AppError('invalid_argument', `ttl: an API token of this cluster lives at most ${renderDuration(maxTtlMs)}`)
  const { id, token, hash } = mintApiToken(context.random)
  return await context.journal.commit(async (tx) => {
    checkOwner(context, owner, input.roles)
    const now = context.now()
    const row = {
      id,
      user: owner,
      name: input.name ?? '',
      hash,
      servers: input.servers ?? null,
      roles: input.roles ?? null,
      created_at: now,
      created_by: caller.identity.name,
      expires_at: now + ttlMs,
    }
    await createApiTokenRow(tx, row)
    return {
      output: { token, item: render({ ...row, last_used_at: null }) },
      events: [tokenEvent(context, caller, 'api_token.create', row)],
    }
  })
}

export async function listApiTokens(
  context: AuthContext,
  input: Input<'listApiTokens'>,
  caller: KnownCaller,
): Promise<{ items: ApiToken[] }> {
  const { identity } = caller
  // Who finds a token learns nothing of the others.
  if (identity.credential === 'api_token' && input.user === undefined) {
    const row = await findApiToken(context.db, identity.credentialId)
    return { items: row ? [render(row)] : [] }
  }
  const own = ownName(identity)
  const wanted = input.user ?? own ?? '*'
  if (wanted !== own || wanted === '*' || identity.credential === 'api_token') await authorize(context, caller, KIND, 'list')
  const rows = await listApiTokenRows(context.db, wanted === '*' ? undefined : wanted)
  return { items: rows.filter((row) => row.expires_at > context.now()).map(render) }
}

export async function deleteApiToken(
  context: AuthContext,
  { id }: Input<'deleteApiToken'>,
  caller: KnownCaller,
): Promise<Record<string, never>> {
  const found = await findApiToken(context.db, id)
  // A token that does not exist is refused like one of somebody else, so that ids cannot be tried.
  if (!found || !isOwn(found, caller.identity)) await authorize(context, caller, KIND, 'delete')
  return await context.journal.commit(async (tx) => {
    const row = await deleteApiTokenRow(tx, id)
    await revoke(context, tx, 'api_token', [id])
    return { output: {}, events: [tokenEvent(context, caller, 'api_token.delete', row)] }
  })
}

/** Those of a user who is signed in with a browser. */
export async function listOwnApiTokens(context: AuthContext, user: string): Promise<ApiToken[]> {
  const rows = await listApiTokenRows(context.db, user)
  return rows.filter((row) => row.expires_at > context.now()).map(render)
}

/** Ends one of them; throws `not_found`, also for one of somebody else. */
export async function revokeOwnApiToken(
  context: AuthContext,
  { user, remoteAddress }: { user: string; remoteAddress: string },
  id: string,
): Promise<void> {
  await context.journal.commit(async (tx) => {
    const row = await deleteApiTokenRow(tx, id, user)
    const event = { ...tokenFields(row), user, remote_addr: remoteAddress, success: true }
    await revoke(context, tx, 'api_token', [id])
    return { output: undefined, events: [buildEvent('api_token.delete', event, context.build)] }
  })
}

/** A token may end itself; the user's others it may not. */
function isOwn(token: ApiTokenRow, identity: Identity): boolean {
  return identity.credential === 'api_token' ? token.id === identity.credentialId : token.user === ownName(identity)
}

/** Hosts, also the local administrator, have no tokens of their own. */
function ownName(identity: Identity): string | undefined {
  return identity.kind === 'host' ? undefined : identity.name
}

function checkOwner(context: AuthContext, owner: string, roles: readonly string[] | undefined): void {
  const user = context.live.find('user', owner)
  if (!user) throw new AppError('not_found', `user "${owner}" not found`)
  const missing = roles?.find((role) => !user.spec.roles.includes(role))
  if (missing !== undefined) throw new AppError('invalid_argument', `roles: user "${owner}" does not have the role "${missing}"`)
}

function tokenEvent(
  context: AuthContext,
  caller: KnownCaller,
  type: 'api_token.create' | 'api_token.delete',
  row: Omit<ApiTokenRow, 'last_used_at'>,
) {
  return buildEvent(type, { ...callerFields(caller), success: true, ...tokenFields(row) }, context.build)
}

function tokenFields({ id, user, servers, roles, expires_at }: Omit<ApiTokenRow, 'last_used_at'>) {
  const scope = { ...(servers && { servers }), ...(roles && { roles }) }
  return { name: user, token_id: id, ...scope, expires: toIso(expires_at) }
}

function render(row: ApiTokenRow): ApiToken {
  const { id, user, name, servers, roles, created_by } = row
  return {
    id,
    user,
    name,
    servers,
    roles,
    created: toIso(row.created_at),
    created_by,
    expires: toIso(row.expires_at),
    last_used: row.last_used_at === null ? null : toIso(row.last_used_at),
  }
}

function toIso(ms: number): string {
  return new Date(ms).toISOString()
}

import type { Client } from 'oidc-provider'
import { compileSet } from '../../../access/mcp-set.ts'
import { serverAccess } from '../../../access/check.ts'
import { buildEvent } from '../../../audit/build-event.ts'
import { labelsOf } from '../../../resources/app.ts'
import type { Identity } from '../../../resources/identity.ts'
import { findMcpEndpoint } from '../../../resources/mcp-endpoint.ts'
import type { User } from '../../../resources/user.ts'
import { extendOAuthRecord, upsertOAuthRecord } from '../../../storage/oauth.ts'
import { roleSetOf } from '../authorize.ts'
import { requiresMfa } from '../context.ts'
import type { AuthContext } from '../context.ts'
import { grantSeconds } from './grant-life.ts'
import { clientFields } from './registration.ts'
import { hashOf, sealContext } from './sealed-records.ts'
import { serversOf } from './scopes.ts'

export interface NewGrant {
  client: Client
  account: string
  user: string
  roles: readonly string[]
  resource: string
  scopes: readonly string[]
  remoteAddress: string
  /** The connector whose identity provider allowed it in place of the person. */
  connector?: string
  /** When it ends at the latest, ms since 1970. */
  notAfter?: number
}

/** A client that somebody allowed something is remembered at least this long after that ended. */
const CLIENT_MARGIN_MS = 7 * 24 * 3_600_000
const OPENID_SCOPES = new Set(['openid', 'offline_access'])

/** Keeps what a person allowed a client, with its event; the id of the grant. */
export async function createGrant(context: AuthContext, request: NewGrant): Promise<string> {
  const { client, account, user, roles, resource, scopes, remoteAddress, connector, notAfter = Infinity } = request
  const now = context.now()
  const grantId = Buffer.from(context.random(16)).toString('base64url')
  const issuedAt = Math.floor(now / 1000)
  const exp = Math.min(issuedAt + grantSeconds(context, roles), Math.floor(notAfter / 1000))
  const openid = scopes.filter((scope) => OPENID_SCOPES.has(scope)).join(' ')
  const payload = {
    kind: 'Grant',
    jti: grantId,
    iat: issuedAt,
    exp,
    accountId: account,
    clientId: client.clientId,
    ...(openid !== '' && { openid: { scope: openid } }),
    resources: { [resource]: scopes.filter((scope) => !OPENID_SCOPES.has(scope)).join(' ') },
    // Not of the library: for lists.
    clientName: client.clientName,
    ...(connector !== undefined && { connector }),
  }
  const id = hashOf('Grant', grantId)
  const expires = new Date(exp * 1000).toISOString()
  const event = {
    user,
    remote_addr: remoteAddress,
    success: true,
    ...clientFields(client.metadata()),
    ...grantFields(resource, scopes),
    grant_id: grantId,
    expires,
    ...(connector !== undefined && { connector }),
  }
  return await context.journal.commit(async (tx) => {
    await upsertOAuthRecord(tx, {
      kind: 'Grant',
      id,
      lookup: null,
      grant_id: grantId,
      account,
      client_id: client.clientId,
      document: context.sealer.seal(Buffer.from(JSON.stringify(payload)), sealContext('Grant', id)),
      created_at: now,
      expires_at: exp * 1000,
    })
    await extendOAuthRecord(tx, 'Client', hashOf('Client', client.clientId), exp * 1000 + CLIENT_MARGIN_MS)
    return { output: grantId, events: [buildEvent('oauth.grant.create', event, context.build)] }
  })
}

/** What events tell of a grant. */
export function grantFields(resource: string, scopes: readonly string[]): { resource: string; scope: string } {
  return { resource: resource.slice(0, 500), scope: scopes.join(' ').slice(0, 500) }
}

/** What a user may use now at an endpoint, with scopes that narrow it: servers by name, tools as patterns. */
export function listReachable(
  context: AuthContext,
  user: User,
  resource: string,
  scopes: readonly string[],
): { endpoint: string; servers: { name: string; tools: string[] }[] } {
  const roleSet = roleSetOf(context, assumedIdentity(user))
  const isOpen = reaches(context, resource, scopes)
  const servers = new Map<string, string[]>()
  for (const { spec } of context.live.list('app_server')) {
    const { name } = spec.app.metadata
    const view = { name, labels: labelsOf(spec.app) }
    if (servers.has(name) || !isOpen(view)) continue
    const access = serverAccess(roleSet, view, { mfaVerified: true, requireMfa: requiresMfa(context) })
    if (access.decision.allow) servers.set(name, access.allowedTools().allowed)
  }
  return {
    endpoint: resource,
    servers: [...servers].map(([name, tools]) => ({ name, tools })).toSorted((a, b) => (a.name < b.name ? -1 : 1)),
  }
}

/** Whether an endpoint shows a server, and scopes leave it open. */
function reaches(context: AuthContext, resource: string, scopes: readonly string[]) {
  const endpoint = findMcpEndpoint(new URL(resource).pathname)
  const scoped = serversOf(scopes)
  const set = endpoint?.type === 'set' ? context.live.find('mcp_set', endpoint.name) : undefined
  const selection = set && compileSet(set)
  return ({ name, labels }: { name: string; labels: Record<string, string> }): boolean => {
    if (!endpoint || scoped?.includes(name) === false) return false
    if (endpoint.type === 'app') return endpoint.name === name
    return endpoint.type === 'all' || (selection?.includesServer(name, labels) ?? false)
  }
}

function assumedIdentity({ metadata, spec }: User): Identity {
  return {
    kind: 'user',
    name: metadata.name,
    roles: spec.roles,
    traits: spec.traits ?? {},
    credential: 'oauth',
    credentialId: '',
    expiresAt: 0,
    mfaVerified: true,
  }
}

import { AppError } from '../../../lib/errors.ts'
import type { Identity } from '../../../resources/identity.ts'
import { findUserOfAccount } from '../../../storage/credentials.ts'
import { findOAuthGrant, findOAuthRecord } from '../../../storage/oauth.ts'
import type { AuthContext } from '../context.ts'
import { issuerOf } from './issuer.ts'
import { hashOf, openRecord } from './sealed-records.ts'
import { ALL_SCOPE, serversOf } from './scopes.ts'
import { findMcpEndpoint, renderMcpEndpoint } from '../../../resources/mcp-endpoint.ts'

const TOKEN = 'AccessToken'
const SHAPE = /^[A-Za-z0-9_-]{43}$/

/** Whether a bearer token is one that this authorization server could have issued. */
export function isAccessToken(token: string): boolean {
  return SHAPE.test(token)
}

/** Who is behind an access token, without roles and traits: these are those of the user now. */
export type TokenHolder = Omit<Identity, 'roles' | 'traits'>

/** What the proxy says in place of a challenge of its own (RFC 6750 section 3.1). */
export const INSUFFICIENT_SCOPE = 'insufficient_scope'

/**
 * The holder of an access token that was presented at `endpoint`, the path of an MCP endpoint.
 * Throws `unauthenticated` when it is unknown, has expired, or is for another endpoint (RFC 8707), `permission_denied` with the detail
 * `insufficient_scope` when its scopes open nothing there.
 */
export async function verifyAccessToken(context: AuthContext, token: string, endpoint: string | undefined): Promise<TokenHolder> {
  const now = context.now()
  const record = await findOAuthRecord(context.db, TOKEN, hashOf(TOKEN, token))
  const payload = record && openRecord(context, record)
  const { accountId, grantId, exp } = payload ?? {}
  if (!payload || accountId === undefined || grantId === undefined || exp === undefined) throw invalid('is not valid')
  if (exp * 1000 <= now) throw invalid('has expired')
  const at = endpoint === undefined ? undefined : findMcpEndpoint(endpoint)
  if (!at || payload.aud !== issuerOf(context.publicAddress()) + renderMcpEndpoint(at))
    throw invalid('is for another endpoint: ask for one for the URL you call')
  const grant = await findOAuthGrant(context.db, grantId, now)
  const user = await findUserOfAccount(context.db, accountId)
  if (!grant || user === undefined) throw invalid('was revoked')
  const servers = narrow(serversOf(payload.scope?.split(' ') ?? []), at.type === 'app' ? at.name : undefined)
  return {
    kind: 'user',
    name: user,
    credential: 'oauth',
    credentialId: grantId,
    expiresAt: grant.expires_at ?? 0,
    tokenExpiresAt: exp * 1000,
    mfaVerified: payload.extra?.['mfa'] === true,
    ...(servers && { servers }),
  }
}

/** The servers that scopes and endpoint both leave open; undefined: all. */
function narrow(scoped: string[] | undefined, only: string | undefined): string[] | undefined {
  const servers = only === undefined ? scoped : (scoped ?? [only]).filter((server) => server === only)
  if (servers?.length === 0)
    throw new AppError('permission_denied', `the token does not open this endpoint: ask for the scope "${ALL_SCOPE}"`, {
      details: { challenge: INSUFFICIENT_SCOPE, scope: ALL_SCOPE },
    })
  return servers
}

function invalid(what: string): AppError {
  return new AppError('unauthenticated', `the access token ${what}`)
}

import type { AdapterPayload } from 'oidc-provider'
import { compileSet } from '../../../access/mcp-set.ts'
import { AppError } from '../../../lib/errors.ts'
import { labelsOf } from '../../../resources/app.ts'
import { botUserName } from '../../../resources/bot.ts'
import type { Identity } from '../../../resources/identity.ts'
import { findMcpEndpoint, renderMcpEndpoint } from '../../../resources/mcp-endpoint.ts'
import type { McpEndpoint } from '../../../resources/mcp-endpoint.ts'
import type { OAuthClient } from '../../../resources/oauth-client.ts'
import { findUserOfAccount } from '../../../storage/credentials.ts'
import { findOAuthGrant, findOAuthRecord } from '../../../storage/oauth.ts'
import type { AuthContext } from '../context.ts'
import { issuerOf } from './issuer.ts'
import { hashOf, openRecord } from './sealed-records.ts'
import { ALL_SCOPE, serversOf } from './scopes.ts'

const SHAPE = /^[A-Za-z0-9_-]{43}$/

/** Whether a bearer token is one that this authorization server could have issued. */
export function isAccessToken(token: string): boolean {
  return SHAPE.test(token)
}

/** A token as a client showed it to the proxy. */
export interface PresentedToken {
  token: string
  /** Path of the MCP endpoint. */
  endpoint: string | undefined
  /** Thumbprint of the key that the sender has proved to hold. */
  proof: string | undefined
}

/** Who is behind an access token, with the roles and traits of now where it is a bot; a person's are those of the user. */
type TokenHolder = Omit<Identity, 'roles' | 'traits'> & Partial<Pick<Identity, 'roles' | 'traits'>>

/**
 * The holder of an access token that was presented at an MCP endpoint.
 * Throws `unauthenticated` when it is unknown, has expired, is for another endpoint (RFC 8707) or for another key (RFC 9449), `permission_denied` with the detail
 * `challenge` when its scopes open nothing there.
 */
export async function verifyAccessToken(context: AuthContext, { token, endpoint, proof }: PresentedToken): Promise<TokenHolder> {
  const now = context.now()
  const payload = await findToken(context, token)
  const exp = payload?.exp
  if (!payload || exp === undefined) throw invalid('is not valid')
  if (exp * 1000 <= now) throw invalid('has expired')
  if (boundKeyOf(payload) !== proof)
    throw invalid(proof === undefined ? 'is bound to a key: send it with a DPoP proof' : 'is bound to no key, or to another')
  const at = endpoint === undefined ? undefined : findMcpEndpoint(endpoint)
  if (!at || payload.aud !== issuerOf(context.publicAddress()) + renderMcpEndpoint(at))
    throw invalid('is for another endpoint: ask for one for the URL you call')
  const holder = payload.kind === 'ClientCredentials' ? findBot(context, payload) : await findPerson(context, payload)
  if (!holder) throw invalid('was revoked')
  const { scope = '' } = payload
  const servers = narrow(serversOf(scope.split(' ')), findServersAt(context, at))
  return { credential: 'oauth', expiresAt: exp * 1000, ...holder, tokenExpiresAt: exp * 1000, scope, ...(servers && { servers }) }
}

async function findToken(context: AuthContext, token: string): Promise<AdapterPayload | undefined> {
  for (const kind of ['AccessToken', 'ClientCredentials']) {
    const record = await findOAuthRecord(context.db, kind, hashOf(kind, token))
    if (record) return openRecord(context, record)
  }
  return undefined
}

/** The library's types do not name this member of tokens. */
function boundKeyOf(payload: AdapterPayload): string | undefined {
  return 'jkt' in payload && typeof payload.jkt === 'string' ? payload.jkt : undefined
}

type Holder = Pick<TokenHolder, 'kind' | 'name' | 'credentialId' | 'mfaVerified'> & Partial<TokenHolder>

async function findPerson(context: AuthContext, { accountId = '', grantId = '', extra }: AdapterPayload): Promise<Holder | undefined> {
  const grant = await findOAuthGrant(context.db, grantId, context.now())
  const name = await findUserOfAccount(context.db, accountId)
  if (!grant || name === undefined) return undefined
  return { kind: 'user', name, credentialId: grantId, expiresAt: grant.expires_at ?? 0, mfaVerified: extra?.['mfa'] === true }
}

/** A client that acts for itself is the bot it was registered for, as both are now. */
function findBot({ live }: AuthContext, { clientId = '' }: AdapterPayload): Holder | undefined {
  const client = live.find('oauth_client', clientId)
  const bot = client?.spec.bot === undefined ? undefined : live.find('bot', client.spec.bot)
  if (!client || !bot) return undefined
  const traits = new Map<string, string[]>()
  for (const { name, values } of bot.spec.traits) traits.set(name, [...(traits.get(name) ?? []), ...values])
  return {
    kind: 'bot',
    name: botUserName(bot.metadata.name),
    credentialId: clientCredentialId(client),
    mfaVerified: false,
    roles: bot.spec.roles,
    traits: Object.fromEntries(traits),
  }
}

/** Another one after each change of the client: what was revoked with the old one stays so. */
export function clientCredentialId({ metadata }: OAuthClient): string {
  return `${metadata.name}@${metadata.revision ?? ''}`
}

/** The servers that scopes and endpoint both leave open; undefined: all. */
function narrow(scoped: string[] | undefined, shown: string[] | undefined): string[] | undefined {
  const servers = scoped && shown ? shown.filter((server) => scoped.includes(server)) : (scoped ?? shown)
  if (scoped && servers?.length === 0)
    throw new AppError('permission_denied', `the token does not open this endpoint: ask for the scope "${ALL_SCOPE}"`, {
      // RFC 6750 section 3.1, for the proxy to say.
      details: { challenge: 'insufficient_scope' },
    })
  return servers
}

/** What an endpoint shows at most; undefined: all. */
export function findServersAt({ live }: Pick<AuthContext, 'live'>, endpoint: McpEndpoint): string[] | undefined {
  if (endpoint.type !== 'set') return endpoint.type === 'app' ? [endpoint.name] : undefined
  const set = live.find('mcp_set', endpoint.name)
  if (!set) return []
  const { includesServer } = compileSet(set)
  const apps = [...live.list('app_server').map(({ spec }) => spec.app), ...live.list('app')]
  return [...new Set(apps.filter((app) => includesServer(app.metadata.name, labelsOf(app))).map(({ metadata }) => metadata.name))]
}

function invalid(what: string): AppError {
  return new AppError('unauthenticated', `the access token ${what}`)
}

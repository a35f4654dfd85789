import { errors } from 'oidc-provider'
import type { Provider, TokenEndpointGrantContext } from 'oidc-provider'
import { AppError } from '../../../lib/errors.ts'
import { JWT_BEARER_GRANT } from '../../../resources/oauth-client.ts'
import { listOAuthGrants } from '../../../storage/oauth.ts'
import type { AuthContext } from '../context.ts'
import { admitAsserted } from '../sso/asserted.ts'
import type { Asserted } from '../sso/asserted.ts'
import { createGrant } from './grants.ts'
import { grantOf } from './held-grants.ts'
import { verifyIdJag } from './id-jag.ts'
import type { IdJag } from './id-jag.ts'
import { findAudience } from './issuer.ts'
import { ALL_SCOPE, isMcpScope } from './scopes.ts'

interface AssertionParameters {
  assertion?: string
}
const PARAMETERS = ['assertion', 'scope', 'resource'] as const
type Context = TokenEndpointGrantContext<AssertionParameters>

/**
 * Enterprise-managed authorization (MCP extension, SEP-990): a client that has proved who it is trades what the person's identity provider asserts
 * to it for an access token (RFC 7523 section 2.1). The token is for one endpoint; there is no refresh token, the client brings the next assertion.
 */
export function addIdentityAssertions(provider: Provider, context: AuthContext, addresses: readonly string[]): void {
  provider.registerGrantType<AssertionParameters>(
    JWT_BEARER_GRANT,
    async (ctx) => {
      try {
        await answer(provider, context, addresses, ctx)
      } catch (thrown) {
        throw inWordsOfOAuth(thrown)
      }
    },
    PARAMETERS,
    ['resource'],
  )
}

async function answer(provider: Provider, context: AuthContext, addresses: readonly string[], ctx: Context): Promise<void> {
  const { client, params } = ctx.oidc
  if (client.clientAuthMethod === 'none') throw new errors.UnauthorizedClient('a client that proves nothing gets nothing for an assertion')
  if (ctx.get('dpop') !== '') throw new errors.InvalidRequest('tokens for assertions are not bound to keys: send no DPoP proof')
  const idJag = await verifyIdJag(context, params.assertion ?? '', provider.issuer, client.clientId)
  const resource = audienceOf(idJag, params.resource, (url) => findAudience(url, provider.issuer, addresses))
  const scopes = grantedScopes(idJag.scope, params.scope)
  const { connector, claims, jti, forgottenAt } = idJag
  if (!(await provider.ReplayDetection.unique(`id-jag ${connector.spec.issuer_url} `, jti, forgottenAt)))
    throw refused('the assertion was used before')
  const person = await admitAsserted(context, connector, claims, ctx.ip)
  const grant = await provider.Grant.find(await grantFor(context, ctx, { person, idJag, resource, scopes }))
  if (!grant) throw refused('what was granted ended a moment ago')
  ctx.oidc.entity('Grant', grant)
  // Of what the second factor is read from.
  ctx.oidc.entity('SubjectToken', { extra: { mfa: person.mfaVerified } })
  const token = new provider.AccessToken({
    client,
    accountId: person.account,
    grantId: grant.jti,
    gty: 'id_jag',
    scope: scopes.join(' '),
    aud: resource,
  })
  ctx.oidc.entity('AccessToken', token)
  const value = await token.save()
  ctx.body = { access_token: value, token_type: 'Bearer', expires_in: token.remainingTTL, scope: scopes.join(' ') }
}

/** The endpoint that was asked for, of those that the assertion names. @throws InvalidTarget */
function audienceOf({ resources }: IdJag, asked: unknown, find: (url: string) => string | undefined): string {
  if (Array.isArray(asked)) throw new errors.InvalidTarget('ask for one resource at a time')
  const [only] = resources.length === 1 ? resources : []
  const resource = typeof asked === 'string' ? asked : only
  if (resource === undefined) throw new errors.InvalidTarget('say for which resource: neither the request nor the assertion names one')
  const audience = find(resource)
  if (audience === undefined) throw new errors.InvalidTarget('the resource is no MCP endpoint of this cluster')
  if (resources.length > 0 && !resources.some((named) => find(named) === audience))
    throw new errors.InvalidTarget('the assertion is for another resource')
  return audience
}

/** What both the assertion and the client name; a word about all servers has those about single ones in it. @throws InvalidScope */
function grantedScopes(asserted: string | undefined, asked: string | undefined): string[] {
  const [allowed, wanted] = [asserted, asked].map((text) => (text === undefined ? [ALL_SCOPE] : text.split(' ').filter(isMcpScope)))
  const isWithin = (scope: string, scopes: readonly string[] = []): boolean => scopes.includes(scope) || scopes.includes(ALL_SCOPE)
  const both = [
    ...(wanted ?? []).filter((scope) => isWithin(scope, allowed)),
    ...(allowed ?? []).filter((scope) => isWithin(scope, wanted)),
  ]
  if (both.length === 0)
    throw new errors.InvalidScope('the assertion and the request have no scope in common that opens anything here', asked ?? '')
  return [...new Set(both)]
}

interface Granting {
  person: Asserted
  idJag: IdJag
  resource: string
  scopes: string[]
}

/** Sessions rest on a grant and not on a token: while there is one for the same, the client goes on with it. */
async function grantFor(context: AuthContext, ctx: Context, { person, idJag, resource, scopes }: Granting): Promise<string> {
  const { client } = ctx.oidc
  const connector = idJag.connector.metadata.name
  const scope = scopes.join(' ')
  const until = context.now() + context.oauth.accessTokenMs
  for (const record of await listOAuthGrants(context.db, context.now(), person.user)) {
    if (record.client_id !== client.clientId || record.grant_id === null || (record.expires_at ?? 0) < until) continue
    const held = grantOf(context, record)
    if (held.connector === connector && held.resources[resource] === scope) return record.grant_id
  }
  const user = context.live.find('user', person.user)
  if (!user) throw refused('the user was deleted a moment ago')
  const { expires } = user.metadata
  return await createGrant(context, {
    client,
    account: person.account,
    user: person.user,
    roles: user.spec.roles,
    resource,
    scopes,
    remoteAddress: ctx.ip,
    connector,
    ...(expires !== undefined && { notAfter: Date.parse(expires) }),
  })
}

/** RFC 7521 section 4.1.1: whatever is wrong with an assertion is an invalid grant. */
function inWordsOfOAuth(thrown: unknown): unknown {
  if (!(thrown instanceof AppError) || thrown.code === 'internal') return thrown
  return thrown.code === 'unavailable' ? new errors.TemporarilyUnavailable(thrown.message) : refused(thrown.message)
}

/** The library keeps its reasons to itself; the client has proved who it is. */
function refused(why: string): errors.InvalidGrant {
  return Object.assign(new errors.InvalidGrant(why), { error_description: why })
}

import { createHmac } from 'node:crypto'
import { errors, interactionPolicy, Provider } from 'oidc-provider'
import type { Configuration, ErrorOut, KoaContextWithOIDC } from 'oidc-provider'
import { findLock } from '../../../access/locks.ts'
import { OAUTH_PATHS } from '../../../resources/oauth-paths.ts'
import { findUserOfAccount } from '../../../storage/credentials.ts'
import { listOAuthGrants } from '../../../storage/oauth.ts'
import type { AuthContext } from '../context.ts'
import { renderCodeConfirmation, renderCodeDone, renderCodeInput } from '../pages/device.ts'
import { renderNotice } from '../pages/layout.ts'
import { sessionSeconds } from './grant-life.ts'
import { grantOf } from './held-grants.ts'
import { addIdentityAssertions } from './identity-assertions.ts'
import { findAudience } from './issuer.ts'
import { createRecords } from './records.ts'
import { ALL_SCOPE, serverScope } from './scopes.ts'
import { addTokenExchange } from './token-exchange.ts'
import { addTrail } from './trail.ts'

const CODE_SECONDS = 60
const INTERACTION_SECONDS = 15 * 60
const DEVICE_CODE_SECONDS = 10 * 60
const MAX_CLIENT_URL = 1000
const DOCUMENT_BYTES = 32 * 1024

export interface ProviderOptions {
  /** The other addresses, `HOST:PORT`, at which this cluster's endpoints are reached. */
  addresses: readonly string[]
  /** Fetches what a client publishes of itself. */
  fetch: (url: string) => Promise<Response>
}

/** The authorization server at one address; its state is in the store, so that any process of the cluster goes on where another stopped. */
export function createProvider(context: AuthContext, issuer: string, options: ProviderOptions): Provider {
  const provider = new Provider(issuer, configuration(context, issuer, options))
  // The headers that this makes it believe are written by `serve.ts`, never passed on.
  provider.proxy = true
  // Else Koa writes to standard error by itself.
  provider.onerror = (cause) => context.log.error('the authorization server failed', { cause })
  addTokenExchange(provider, context, options.addresses)
  addIdentityAssertions(provider, context, options.addresses)
  addTrail(context, provider)
  provider.on('server_error', (_, cause) => context.log.error('the authorization server failed', { cause }))
  return provider
}

function configuration(context: AuthContext, issuer: string, options: ProviderOptions): Configuration {
  const secure = issuer.startsWith('https:')
  const cookie = { httpOnly: true, sameSite: 'lax' as const, secure, signed: true }
  return {
    adapter: (kind) => createRecords(context, kind),
    jwks: { keys: [{ ...context.keys.oauth.privateKey.export({ format: 'jwk' }), kid: context.keys.oauth.kid, use: 'sig', alg: 'ES256' }] },
    routes: routes(),
    cookies: {
      keys: [createHmac('sha256', context.keys.formKey).update('oauth cookies').digest('base64url')],
      names: {
        session: secure ? '__Host-sallyport-session' : 'sallyport-session',
        interaction: 'sallyport-interaction',
        resume: 'sallyport-resume',
      },
      long: cookie,
      short: cookie,
    },
    ...protocol(),
    features: features(context, issuer, options),
    interactions: { url: (_, interaction) => `/web/oauth/${interaction.uid}`, policy: prompts() },
    findAccount: (_, sub) => findAccount(context, sub),
    loadExistingGrant: (ctx) => loadGrant(context, ctx),
    extraTokenClaims: (ctx) => ({ mfa: hasSecondFactor(ctx) }),
    expiresWithSession: () => false,
    issueRefreshToken: (_, client) => client.grantTypeAllowed('refresh_token'),
    rotateRefreshToken: true,
    revokeGrantPolicy: () => true,
    ttl: ttl(context),
    renderError: (ctx, out) => {
      ctx.type = 'html'
      ctx.body = renderNotice('This does not work', context.clusterName, describeError(out))
    },
    fetch: (url) => options.fetch(typeof url === 'string' ? url : url instanceof URL ? url.href : url.url),
    fetchResponseBodyLimits: {
      'client_id metadata document': 5 * 1024,
      jwks_uri: DOCUMENT_BYTES,
      sector_identifier_uri: DOCUMENT_BYTES,
    },
  }
}

/** Whoever is locked or gone since has to sign in again, and is told there why that does not work. */
function prompts(): interactionPolicy.DefaultPolicy {
  const { base, Check } = interactionPolicy
  const policy = base()
  const isNobody = ({ oidc }: KoaContextWithOIDC): boolean => oidc.session?.accountId !== undefined && oidc.account === undefined
  policy
    .get('login')
    ?.checks.add(
      new Check('no_account', 'End-User authentication is required', (ctx) =>
        isNobody(ctx) ? Check.REQUEST_PROMPT : Check.NO_NEED_TO_PROMPT,
      ),
    )
  return policy
}

function routes(): Configuration['routes'] {
  const { authorization, token, revocation, introspection, jwks, deviceAuthorization, device } = OAUTH_PATHS
  return {
    authorization,
    token,
    revocation,
    introspection,
    jwks,
    device_authorization: deviceAuthorization,
    code_verification: device,
  }
}

/** OAuth 2.1 (draft): codes with PKCE, no implicit and no password grant. */
function protocol(): Configuration {
  return {
    responseTypes: ['code'],
    pkce: { required: () => true },
    scopes: ['openid', 'offline_access'],
    clientAuthMethods: ['none', 'private_key_jwt', 'client_secret_basic', 'client_secret_post'],
    clientDefaults: {
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
      id_token_signed_response_alg: 'ES256',
    },
    enabledJWA: {
      clientAuthSigningAlgValues: ['ES256', 'EdDSA', 'RS256', 'PS256'],
      idTokenSigningAlgValues: ['ES256'],
      dPoPSigningAlgValues: ['ES256', 'EdDSA'],
    },
    clientBasedCORS: () => true,
    allowOmittingSingleRegisteredRedirectUri: false,
    acceptQueryParamAccessTokens: false,
  }
}

function features(context: AuthContext, issuer: string, { addresses }: ProviderOptions): Configuration['features'] {
  return {
    devInteractions: { enabled: false },
    dPoP: {
      enabled: true,
      nonceSecret: createHmac('sha256', context.keys.formKey).update('dpop nonces').digest(),
      requireNonce: () => context.oauth.requiresDpopNonce,
    },
    rpInitiatedLogout: { enabled: false },
    userinfo: { enabled: false },
    pushedAuthorizationRequests: { enabled: false },
    revocation: { enabled: true, allowedPolicy: (_, client, token) => token.clientId === client.clientId },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: (_, client) => mayIntrospect(context, client.clientId) },
    deviceFlow: devicePages(context),
    clientIdMetadataDocument: { enabled: true, ack: 'draft-02', allowFetch: (_, clientId) => clientId.length <= MAX_CLIENT_URL },
    resourceIndicators: {
      enabled: true,
      defaultResource: (_, __, oneOf) => oneOf ?? `${issuer}/mcp`,
      useGrantedResource: () => true,
      getResourceServerInfo: (ctx, resource) => {
        if (Array.isArray(ctx.oidc.params?.['resource'])) throw new errors.InvalidTarget('ask for one resource at a time')
        const audience = findAudience(resource, issuer, addresses)
        if (audience === undefined) throw new errors.InvalidTarget(`the resource is no MCP endpoint of ${issuer}`)
        return { audience, scope: scopesAt(context), accessTokenFormat: 'opaque' }
      },
    },
  }
}

/** For the person in front of the page, who did not write the client. */
function describeError({ error, error_description: description = error }: ErrorOut): string {
  if (error === 'invalid_client')
    return `This MCP client is not known here, or not any more (${description}). Remove its sign-in for this server in the client, and connect again.`
  if (error === 'invalid_redirect_uri')
    return `The MCP client asks for an answer at an address that it has not registered (${description}). Nothing was sent there.`
  return `The MCP client asked for something that is refused: ${description}.`
}

function devicePages({ clusterName }: AuthContext): NonNullable<Configuration['features']>['deviceFlow'] {
  return {
    enabled: true,
    charset: 'base-20',
    mask: '****-****',
    deviceInfo: (ctx) => ({ ip: ctx.ip }),
    userCodeInputSource: (ctx, _, __, fault) => {
      ctx.body = renderCodeInput(ctx, clusterName, fault && describeFault(fault))
    },
    userCodeConfirmSource: (ctx, _, client, __, userCode) => {
      ctx.body = renderCodeConfirmation(ctx, clusterName, client.clientName ?? client.clientId, userCode)
    },
    successSource: (ctx) => {
      ctx.body = renderCodeDone(clusterName)
    },
  }
}

function describeFault(fault: object): string {
  if ('userCode' in fault) return 'This code is not known, was used already or has expired.'
  return 'name' in fault && fault.name === 'AbortedError' ? 'The device was not connected.' : 'This did not work: enter the code again.'
}

/** A service of ours or of the administrator's; nobody else learns of tokens of others (RFC 7662 section 4). */
function mayIntrospect({ live }: AuthContext, clientId: string): boolean {
  const spec = live.find('oauth_client', clientId)?.spec
  return spec?.may_introspect === true && spec.token_endpoint_auth_method === 'private_key_jwt'
}

/** All that there are: what a client gets is what it asked for and the person agreed to. */
function scopesAt({ live }: AuthContext): string {
  const names = [
    ...live.list('app_server').map(({ spec }) => spec.app.metadata.name),
    ...live.list('app').map(({ metadata }) => metadata.name),
  ]
  return [ALL_SCOPE, ...new Set(names.map(serverScope))].join(' ')
}

async function findAccount(context: AuthContext, accountId: string) {
  const name = await findUserOfAccount(context.db, accountId)
  const user = name === undefined ? undefined : context.live.find('user', name)
  if (name === undefined || !user) return undefined
  const { roles, traits = {} } = user.spec
  const identity = {
    kind: 'user' as const,
    name,
    roles,
    traits,
    credential: 'oauth' as const,
    credentialId: '',
    expiresAt: 0,
    mfaVerified: false,
  }
  if (findLock(context.live.list('lock'), identity, context.now())) return undefined
  return { accountId, name, claims: () => ({ sub: accountId }) }
}

/**
 * What this person allowed this client before, if it covers all that is asked for now: a page that was agreed to once is not asked about
 * again. Clients on somebody's own machine are asked about each time, whatever is found.
 */
async function loadGrant(context: AuthContext, ctx: KoaContextWithOIDC) {
  const { Grant } = ctx.oidc.provider
  const allowed = ctx.oidc.result?.consent?.grantId
  if (allowed !== undefined) return Grant.find(allowed)
  const account = ctx.oidc.account?.accountId
  const name = account === undefined ? undefined : await findUserOfAccount(context.db, account)
  if (name === undefined) return undefined
  for (const record of (await listOAuthGrants(context.db, context.now(), name)).toReversed()) {
    const { client_id, grant_id } = record
    if (client_id !== ctx.oidc.client?.clientId || grant_id === null) continue
    // What an identity provider allowed is nothing that the person agreed to.
    if (grantOf(context, record).connector !== undefined) continue
    const grant = await Grant.find(grant_id)
    const covers = Object.keys(ctx.oidc.resourceServers ?? {}).every((resource) => grant?.getResourceScope(resource) !== '')
    if (grant && covers) return grant
  }
  return undefined
}

/** Whether the person proved a second factor when all this began. */
function hasSecondFactor({ oidc: { entities } }: KoaContextWithOIDC): boolean {
  const { AuthorizationCode, RefreshToken, DeviceCode, SubjectToken } = entities
  if (typeof SubjectToken === 'object' && SubjectToken !== null && 'extra' in SubjectToken)
    return (
      typeof SubjectToken.extra === 'object' &&
      SubjectToken.extra !== null &&
      'mfa' in SubjectToken.extra &&
      SubjectToken.extra.mfa === true
    )
  return (AuthorizationCode ?? RefreshToken ?? DeviceCode)?.amr?.some((method) => method === 'otp' || method === 'mfa') ?? false
}

function ttl(context: AuthContext): Configuration['ttl'] {
  const { accessTokenMs, sessionMs } = context.oauth
  const seconds = (ms: number): number => Math.max(1, Math.floor(ms / 1000))
  const untilGrantEnds = (ctx: KoaContextWithOIDC): number => {
    const exp = ctx.oidc.entities.Grant?.exp
    return exp === undefined ? seconds(sessionMs) : Math.max(1, exp - Math.floor(context.now() / 1000))
  }
  return {
    AccessToken: (ctx) => Math.min(seconds(accessTokenMs), untilGrantEnds(ctx)),
    AuthorizationCode: CODE_SECONDS,
    ClientCredentials: seconds(accessTokenMs),
    DeviceCode: DEVICE_CODE_SECONDS,
    IdToken: seconds(accessTokenMs),
    Interaction: INTERACTION_SECONDS,
    RefreshToken: untilGrantEnds,
    Session: (_, { accountId }) => (accountId === undefined ? INTERACTION_SECONDS : sessionSeconds(context)),
    Grant: seconds(sessionMs),
  }
}

import type { ClientAuth, Configuration, CustomFetchOptions } from 'openid-client'
import { parseDuration } from '../../../lib/duration.ts'
import type { OidcConnector } from '../../../resources/oidc.ts'
import type { ConnectorClient, Returned, SsoRequest } from './connector-client.ts'
import { identify } from './identified.ts'
import type { Identified } from './identified.ts'
import { PROVIDER_TIMEOUT_MS, fetchFromProvider } from './provider-fetch.ts'
import { translated } from './provider-fault.ts'

/** Seconds that clocks of identity providers may be wrong by. */
const TOLERANCE_SECONDS = 30

/**
 * A connector of OpenID Connect at work: code flow with PKCE and nonce; the ID token's issuer, audience, times, nonce and signature are verified
 * (OpenID Connect Core section 3.1.3.7), and `iss` of the answer, where the provider sends it (RFC 9207).
 */
export async function openOidc(connector: OidcConnector, secret: string, now: () => number): Promise<ConnectorClient> {
  const { spec } = connector
  const client = await import('openid-client')
  const options = {
    execute: [client.allowInsecureRequests, client.enableNonRepudiationChecks],
    timeout: PROVIDER_TIMEOUT_MS / 1000,
    [client.customFetch]: customFetch,
  }
  const metadata = {
    // The library has a clock of its own.
    [client.clockSkew]: Math.round((now() - Date.now()) / 1000),
    [client.clockTolerance]: TOLERANCE_SECONDS,
  }
  const authenticate: ClientAuth = (server, ...rest) => {
    const methods = server.token_endpoint_auth_methods_supported ?? ['client_secret_basic']
    const method = methods.includes('client_secret_post') ? client.ClientSecretPost(secret) : client.ClientSecretBasic(secret)
    method(server, ...rest)
  }
  const config = await translated(() => client.discovery(new URL(spec.issuer_url), spec.client_id, metadata, authenticate, options))
  const maxAge = maxAgeSeconds(connector)
  const usesPkce = spec.pkce_mode === 'enabled'
  return {
    authorizeUrl: async ({ redirectUri, state, nonce, verifier }: SsoRequest) =>
      client.buildAuthorizationUrl(config, {
        redirect_uri: redirectUri,
        scope: scopeOf(connector),
        state,
        nonce,
        ...(usesPkce && { code_challenge: await client.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256' }),
        ...(maxAge !== undefined && { max_age: String(maxAge) }),
        ...(spec.prompt !== undefined && { prompt: spec.prompt }),
        ...(spec.acr_values !== undefined && { acr_values: spec.acr_values }),
      }),
    identify: async ({ url, state, nonce, verifier }: Returned): Promise<Identified> => {
      const claims = await translated(async () => {
        const tokens = await client.authorizationCodeGrant(config, url, {
          expectedState: state,
          expectedNonce: nonce,
          idTokenExpected: true,
          ...(usesPkce && { pkceCodeVerifier: verifier }),
          ...(maxAge !== undefined && { maxAge }),
        })
        const said = { ...tokens.claims() }
        return together(await fetchMore(config, tokens.access_token, String(said['sub'])), said)
      })
      return identify(connector, claims)
    },
  }

  /** What the provider says of the person beside the ID token, where it has a place for that. */
  async function fetchMore(configuration: Configuration, token: string, subject: string): Promise<Record<string, unknown>> {
    if (configuration.serverMetadata().userinfo_endpoint === undefined) return {}
    return { ...(await client.fetchUserInfo(configuration, token, subject)) }
  }
}

/** The signed word counts more; what is verified is the address beside which that stands. */
function together(more: Record<string, unknown>, signed: Record<string, unknown>): Record<string, unknown> {
  const { email_verified: _, ...rest } = more
  const isSameEmail = signed['email'] === undefined || signed['email'] === more['email']
  return { ...(isSameEmail ? more : rest), ...signed }
}

function scopeOf({ spec }: OidcConnector): string {
  const asked = spec.scope.length === 0 ? ['email', 'profile'] : spec.scope
  return [...new Set(['openid', ...asked])].join(' ')
}

/** How old a sign-in at the identity provider may be; undefined: as old as it allows. */
export function maxAgeSeconds({ spec }: OidcConnector): number | undefined {
  const { max_age } = spec
  return typeof max_age === 'string' ? Math.floor(parseDuration(max_age) / 1000) : max_age
}

/** Address by address: only what the issuer is allowed to be is asked, whatever the discovery document names. */
async function customFetch(url: string, { body, headers, method }: CustomFetchOptions): Promise<Response> {
  return await fetchFromProvider(url, { method, headers, ...(body instanceof URLSearchParams && { body }) })
}

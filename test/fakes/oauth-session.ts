import type {
  OAuthClientProvider,
  OAuthDiscoveryState,
  StoredOAuthClientInformation,
  StoredOAuthTokens,
} from '@modelcontextprotocol/client'
import type { OAuthClientProvider as OAuthClientProviderV1 } from '@modelcontextprotocol/sdk/client/auth.js'

/** What an MCP client keeps of its OAuth, in memory; it does for the SDKs of both generations. */
export class OAuthSession {
  readonly redirectUrl = 'http://localhost:33418/callback'
  readonly clientMetadata = {
    client_name: 'Test client',
    redirect_uris: [this.redirectUrl],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
  }
  client: StoredOAuthClientInformation | undefined
  kept: StoredOAuthTokens | undefined
  /** Where the person was to go last. */
  authorizationUrl: URL | undefined
  readonly issued: StoredOAuthTokens[] = []
  #verifier = ''
  #discovery: OAuthDiscoveryState | undefined

  /** As the SDK of either generation wants it. */
  provider(): OAuthClientProvider & OAuthClientProviderV1 {
    return {
      redirectUrl: this.redirectUrl,
      clientMetadata: this.clientMetadata,
      state: () => 'state-of-the-client',
      clientInformation: () => this.client,
      saveClientInformation: (client: StoredOAuthClientInformation) => {
        this.client = client
      },
      tokens: () => this.kept,
      saveTokens: (tokens: StoredOAuthTokens) => {
        this.kept = tokens
        this.issued.push(tokens)
      },
      redirectToAuthorization: (url: URL) => {
        this.authorizationUrl = url
      },
      saveCodeVerifier: (verifier: string) => {
        this.#verifier = verifier
      },
      codeVerifier: () => this.#verifier,
      discoveryState: () => this.#discovery,
      saveDiscoveryState: (found: OAuthDiscoveryState) => {
        this.#discovery = found
      },
    }
  }
}

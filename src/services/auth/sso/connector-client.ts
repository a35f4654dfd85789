import type { GithubConnector } from '../../../resources/github.ts'
import type { OidcConnector } from '../../../resources/oidc.ts'
import type { Identified } from './identified.ts'

export type Connector = OidcConnector | GithubConnector

/** What is sent to the identity provider. */
export interface SsoRequest {
  redirectUri: string
  state: string
  nonce: string
  verifier: string
}

/** What comes back from it, with what was sent. */
export interface Returned extends SsoRequest {
  /** The address the browser came back to, with its query. */
  url: URL
}

/** A connector at work. */
export interface ConnectorClient {
  authorizeUrl(request: SsoRequest): Promise<URL>
  /** Throws an AppError that says to the person what did not hold. */
  identify(returned: Returned): Promise<Identified>
}

/** The client of a connector with its secret; throws an AppError when its provider cannot be asked. */
export type ConnectorClients = (connector: Connector, secret: string | undefined) => Promise<ConnectorClient>

import type { Traits } from './user.ts'

export type IdentityKind = 'user' | 'bot' | 'host'

/** How the caller proved who it is; a route assertion passes on what it was issued for. `oauth` is what a person allowed an MCP client; `jwt` is a token of another issuer; `local` is the administrator on the Auth Service's own machine. */
export type CredentialKind = 'certificate' | 'api_token' | 'oauth' | 'jwt' | 'local'

/** Verified facts about a caller. Made in one place per credential; never by parsing what a caller says of itself. */
export interface Identity {
  kind: IdentityKind
  /** User name, `bot-NAME` for a bot, host id for a host. */
  name: string
  /** Names of roles; for hosts system roles such as `Admin`, `Proxy`, `App`. */
  roles: string[]
  /** Of an API token that is limited to some of its user's `roles`: only these grant; the others still refuse and are locked. Absent: all grant. */
  grantingRoles?: string[]
  traits: Traits
  credential: CredentialKind
  /** The credential's own id: certificate serial, API token id, id of the grant behind an OAuth token. MCP sessions and revocation go by it. */
  credentialId: string
  /** Milliseconds since 1970; the credential is worth nothing after it. */
  expiresAt: number
  mfaVerified: boolean
  /** Of a credential that is shown by ever new tokens: when the one that was presented ends, ms since 1970. */
  tokenExpiresAt?: number
  /** Of an OAuth token: what it is narrowed to, as RFC 6749 section 3.3 writes it. */
  scope?: string
  /** A scoped API token reaches only these servers; absent: no restriction beyond roles. */
  servers?: string[]
  botInstanceId?: string
  /** The token's name, or what stands for it where the name is a secret. */
  joinToken?: string
  joinMethod?: string
  /** The same for all credentials of which each replaces the one before, as those that a bot keeps renewing; no white space. Absent: the name says it. */
  holder?: string
  /** A bot's own certificate: it renews itself and gets outputs, and opens nothing. */
  internal?: boolean
  /** False: the Auth Service issues no further credentials for this one. */
  allowReissue?: boolean
  accessRequests?: string[]
}

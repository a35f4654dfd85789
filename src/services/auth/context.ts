import type { X509Certificate } from 'node:crypto'
import type { BuildOptions } from '../../audit/build-event.ts'
import type { Authority } from '../../ca/authority.ts'
import type { Signer, VerificationKey } from '../../ca/assertion.ts'
import type { Sealer } from '../../ca/sealed.ts'
import type { Logger } from '../../lib/log.ts'
import { defaultAuthPreference } from './presets.ts'
import type { ClusterAuthPreference } from '../../resources/cluster-auth-preference.ts'
import type { App } from '../../resources/app.ts'
import { CLUSTER_AUTH_PREFERENCE } from '../../resources/cluster-auth-preference.ts'
import type { Identity } from '../../resources/identity.ts'
import { requiresSessionMfa } from '../../resources/session-mfa.ts'
import type { Database } from '../../storage/database.ts'
import type { Changes } from './changes.ts'
import type { Journal } from './journal.ts'
import type { JwtKeys } from './jwt-keys.ts'
import type { IssuerKeys } from './join/issuer-keys.ts'
import type { Nonces } from './join/nonces.ts'
import type { Limits } from './limits.ts'
import type { FirstTimes } from './first-times.ts'
import type { LiveResources } from './live-resources.ts'
import type { ConnectorClients } from './sso/connector-client.ts'
import type { Watches } from './watches.ts'

/** What signs for the cluster. Private keys are in memory only here; at rest they are sealed. */
export interface ClusterKeys {
  user: Authority
  host: Authority
  /** Signs what the authorization server says of people (OpenID Connect). */
  oauth: Signer & VerificationKey
  db: Authority
  dbClient: Authority
  /** Vouches for workloads (SPIFFE), by certificate and by JWT. */
  spiffe: Authority
  svid: Signer & VerificationKey
  assertion: Signer & VerificationKey
  /** Of what MCP servers are told of their callers. */
  jwt: JwtKeys
  /** Binds the forms of our pages to their flow. */
  formKey: Buffer
}

/** Access tokens of users at MCP servers, renewed when they have to be. */
export interface AccountTokens {
  /** `refused`: a token that the server did not take. `expiresAt` in ms since 1970. */
  get(account: string, app: App, refused: string | undefined): Promise<{ id: string; token: string; expiresAt: number }>
}

/** What every route works with; made once by start.ts. */
export interface AuthContext {
  clusterName: string
  db: Database
  live: LiveResources
  watches: Watches
  keys: ClusterKeys
  sealer: Sealer
  /** Which agent was given which secret, or offered what it may not. */
  firstTimes: FirstTimes
  journal: Journal
  /** Keeps memory in step with the store, whoever changed it. */
  changes: Pick<Changes, 'catchUp'>
  /** Calls `listener`, which must not throw, with each name under which proxies keep something else of MCP sessions now; returns what ends that. */
  onSessionKept(listener: (name: string) => void): () => void
  limits: Limits
  /** Each join has its own. */
  nonces: Nonces
  issuerKeys: IssuerKeys
  /** By which people sign in elsewhere. */
  connectorClients: ConnectorClients
  /** Of users at MCP servers. */
  accountTokens: () => AccountTokens
  build: BuildOptions
  /** A hash nobody has the password of: unknown users take as long as known ones. */
  dummyHash: string
  apiTokens: { maxTtlMs: number; defaultTtlMs: number }
  oauth: { accessTokenMs: number; sessionMs: number; requiresDpopNonce: boolean }
  /** `host:port` of the Proxy Service as people reach it. */
  publicAddress: () => string
  /** Whether the proxy reaches this agent now. */
  isConnected: (hostId: string) => boolean
  /** Where else, `host:port`. */
  otherAddresses: readonly string[]
  /** Of this program. */
  version: string
  log: Logger
  now: () => number
  random: (bytes: number) => Uint8Array
}

/** The name of whoever calls through the local socket. */
export const LOCAL_ADMINISTRATOR = 'local-admin'

/** Who calls, as far as that is known. */
export interface Caller {
  identity: Identity | undefined
  remoteAddress: string
}

export interface KnownCaller extends Caller {
  identity: Identity
  /** That the caller showed on this connection. */
  certificate?: X509Certificate | undefined
  /** What is known of it is not older than this, ms since 1970. */
  asOf?: number
}

export function authPreference(context: Pick<AuthContext, 'live'>): ClusterAuthPreference {
  return context.live.find('cluster_auth_preference', CLUSTER_AUTH_PREFERENCE) ?? defaultAuthPreference()
}

/** Whether every MCP call in the cluster needs a second factor. */
export function requiresMfa(context: Pick<AuthContext, 'live'>): boolean {
  return requiresSessionMfa(authPreference(context).spec.require_session_mfa)
}

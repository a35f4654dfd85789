import { hkdfSync, randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import { getRequestListener } from '@hono/node-server'
import type { Hono } from 'hono'
import type { VerificationKey } from '../../ca/assertion.ts'
import { hashPassword } from '../../ca/password.ts'
import { buildEvent } from '../../audit/build-event.ts'
import type { JournalSource, Shipping } from '../../audit/spool.ts'
import { ensurePrivateDirectory } from '../../lib/atomic-file.ts'
import { findDuration, parseDuration } from '../../lib/duration.ts'
import type { AppError } from '../../lib/errors.ts'
import type { GuardedFetchOptions } from '../../lib/guarded-fetch.ts'
import { createIds } from '../../lib/ids.ts'
import type { Logger } from '../../lib/log.ts'
import { createRedactor } from '../../lib/redact.ts'
import type { ResourceFeed } from '../../resources/feed.ts'
import type { Identity } from '../../resources/identity.ts'
import type { Database } from '../../storage/database.ts'
import { openStore } from '../../storage/store.ts'
import type { StoreLocation } from '../../storage/store.ts'
import { peerOf } from './authenticate.ts'
import type { AppEnv, Peer } from './authenticate.ts'
import { openCluster, openClusterKeys, openSealer } from './cluster-keys.ts'
import { oauthLimits } from './config.ts'
import type { AuthConfig } from './config.ts'
import { LOCAL_ADMINISTRATOR } from './context.ts'
import type { AuthContext } from './context.ts'
import { followChanges } from './follow-changes.ts'
import { openFileLog, renderLines } from './file-log.ts'
import type { FileLog } from './file-log.ts'
import { seedResources } from './first-start.ts'
import { createFirstTimes } from './first-times.ts'
import { startJobs } from './jobs.ts'
import { createIssuerKeys } from './join/issuer-keys.ts'
import { createNonces } from './join/nonces.ts'
import { createJournal } from './journal.ts'
import { createLimits, openAttempts, DEFAULT_LIMITS } from './limits.ts'
import type { LimitOptions } from './limits.ts'
import { openMemory } from './memory.ts'
import { createDocumentFetch } from './oauth/document-fetch.ts'
import { createSharedProofs } from './oauth/shared-proofs.ts'
import type { SharedProofs } from './oauth/shared-proofs.ts'
import { createOAuthServer } from './oauth/serve.ts'
import type { OAuthServer } from './oauth/serve.ts'
import { useOnce } from '../../storage/shared-marks.ts'
import { noteRefusedRequest } from './refused-requests.ts'
import type { SentRequest } from './refused-requests.ts'
import { issueServerCertificate } from './server-certificate.ts'
import { reachStore } from './reach-store.ts'
import { createServer } from './server.ts'
import { createAccountFetch } from './upstream-accounts/account-fetch.ts'
import { CurrentTokens } from './upstream-accounts/current-tokens.ts'
import type { AccountFetch } from './upstream-accounts/discovery.ts'
import { startShippingThread } from './shipping.ts'
import { createConnectorClients } from './sso/connector-clients.ts'
import { DATABASE_FILE } from './storage-config.ts'

export interface AuthServiceOptions {
  config: AuthConfig
  /** Private folder of the service: sealing key, audit files, and the database unless `store` says where else it is. */
  dataDirectory: string
  store?: StoreLocation | undefined
  /** Ends the wait for a store that is away. */
  signal?: AbortSignal | undefined
  /** `host:port` of the Proxy Service as people reach it; known only once it listens. */
  publicAddress: () => string
  /** Whether the proxy reaches this agent now: what an agent offers that it does not reach is on no list. All, unless given. */
  isConnected?: (hostId: string) => boolean
  /** Where else clients reach the Proxy Service, `host:port`. */
  otherAddresses?: readonly string[]
  /** How what MCP clients publish of themselves is fetched. */
  clientDocuments?: GuardedFetchOptions
  /** Version of this program, as clients see it. */
  version: string
  log: Logger
  /** Milliseconds since 1970. */
  now?: () => number
  random?: (bytes: number) => Uint8Array
  limits?: Partial<LimitOptions>
  /** How often expiry is looked at, ms. */
  expireEveryMs?: number
  sweepEveryMs?: number
  /** How often it is looked for what other processes changed when nobody says so, ms. */
  followEveryMs?: number
}

export interface InternalRequest {
  method: string
  /** Path with query. */
  path: string
  headers: Record<string, string>
  body: string | undefined
  /** Of the client on whose behalf a service of this process calls. */
  remoteAddress?: string
}

export type RequestListener = (request: IncomingMessage, response: ServerResponse) => void

export interface AuthService {
  clusterName: string
  /** API and pages, for connections from outside: by client certificate, bearer token, or anonymous. */
  handler: RequestListener
  /** The same for the socket of the local administrator: every caller is host `local-admin` with the role Admin. */
  localHandler: RequestListener
  /** Calls within the process: same routes, same authorisation. Without an identity the `authorization` header decides. */
  carrier(identity?: Identity): (request: InternalRequest) => Promise<{ status: number; body: string }>
  feed: ResourceFeed
  /** When this settles, the feed has whatever was committed before the call, anywhere. Rejects while the store cannot be read. */
  catchUp(): Promise<void>
  /** As in the context of routes. */
  onSessionKept: AuthContext['onSessionKept']
  /** Stores what comes into the journal of a service in the same process, in a thread of its own; close it before this service. */
  shipJournal(source: JournalSource): Shipping
  /** 32 bytes, the same in every process of the cluster, for one purpose. */
  deriveKey(purpose: string): Buffer
  /** For who verifies proofs of keys. */
  proofs: SharedProofs
  /** Writes down what was refused before it came here. Rejects with `resource_exhausted` when this address had too many. */
  noteRefusedRequest(request: SentRequest, error: AppError): Promise<void>
  assertionKeys(): VerificationKey[]
  hostAuthorityPems(): string[]
  userAuthorityPems(): string[]
  /** A server certificate of the host CA with a fresh key, as PEM; `notAfter` in ms since 1970. */
  issueServerCertificate(names: { dns: string[]; ip: string[] }): Promise<{ key: string; cert: string; notAfter: number }>
  hasUsers(): Promise<boolean>
  /** Ends what would go on for ever: those who watch resources. */
  endWatches(): void
  close(): Promise<void>
}

const LOCAL_SESSION_MS = 3_600_000

/**
 * Starts the Auth Service on its data directory. The first start makes the cluster: name, authorities, keys, preset roles.
 * Throws `failed_precondition` when the directory belongs to another cluster, account or version, `cancelled` by the signal.
 */
export async function startAuthService(options: AuthServiceOptions): Promise<AuthService> {
  await ensurePrivateDirectory(options.dataDirectory)
  const store: StoreLocation = options.store ?? { type: 'sqlite', at: join(options.dataDirectory, DATABASE_FILE) }
  const { log, signal, now = Date.now } = options
  const db = await reachStore({ open: () => openStore(store, log), signal, now, log })
  try {
    return await startOn(db, store, options)
  } catch (thrown) {
    await db.close()
    throw thrown
  }
}

async function startOn(db: Database, store: StoreLocation, options: AuthServiceOptions): Promise<AuthService> {
  const { config, dataDirectory, log, version, now = Date.now, random = randomBytes } = options
  const sealer = await openSealer(db, dataDirectory, config.secret_key_file)
  const { name: clusterName } = await openCluster(db, sealer, config.cluster_name)
  const keys = await openClusterKeys(db, sealer, clusterName, now)
  await seedResources(db, sealer, now())
  const memory = await openMemory(db, keys, { now, random, log })
  const fileLog = config.audit.file ? await openFileLog(join(dataDirectory, 'audit'), { db, clusterName, now, log }) : undefined
  const context: AuthContext = {
    clusterName,
    db,
    ...memory,
    keys,
    sealer,
    firstTimes: createFirstTimes(),
    journal: createJournal(db, clusterName, memory.changes, (events) => fileLog?.append(renderLines(events))),
    nonces: createNonces({ key: keys.formKey, random, now, useOnce: (id, expiresAt) => useOnce(db, id, expiresAt) }),
    issuerKeys: createIssuerKeys({ now }),
    connectorClients: createConnectorClients({ now }),
    limits: createLimits({ ...DEFAULT_LIMITS, ...options.limits }, openAttempts(db, now)),
    accountTokens: () => accountTokens,
    build: { ids: createIds(random, now), now, cluster: clusterName, redactor: createRedactor() },
    dummyHash: await hashPassword(Buffer.from(random(32)).toString('base64url')),
    apiTokens: { maxTtlMs: parseDuration(config.api_tokens.max_ttl), defaultTtlMs: parseDuration(config.api_tokens.default_ttl) },
    oauth: oauthLimits(config),
    publicAddress: options.publicAddress,
    isConnected: options.isConnected ?? (() => true),
    otherAddresses: options.otherAddresses ?? [],
    version,
    log,
    now,
    random,
  }
  const documents = { allowLoopback: config.oauth.loopback_documents, ...options.clientDocuments }
  const accountFetch = createAccountFetch(documents)
  const accountTokens = new CurrentTokens(context, accountFetch)
  const oauth = createOAuthServer(context, { addresses: options.otherAddresses ?? [], fetch: createDocumentFetch(documents) })
  const jobs = startJobs({
    context,
    fileLog,
    retentionMs: findDuration(config.audit.retention ?? ''),
    expireEveryMs: options.expireEveryMs ?? 1000,
    sweepEveryMs: options.sweepEveryMs ?? 30_000,
  })
  const following = await followChanges(memory.changes, { store, everyMs: options.followEveryMs ?? 500, log })
  await context.journal.record([buildEvent('cluster.start', { version, success: true }, context.build)])
  return {
    ...services(context, oauth, accountFetch, store, fileLog),
    async close() {
      context.watches.close()
      await following.close()
      await jobs.close()
      await recordStop(context)
      await fileLog?.close()
      await db.close()
    },
  }
}

/** A store that is away keeps nobody from stopping. */
async function recordStop({ journal, version, build, log }: AuthContext): Promise<void> {
  try {
    await journal.record([buildEvent('cluster.stop', { version, success: true }, build)])
  } catch (error) {
    log.warn('the store did not take the word that the Auth Service stops', { error })
  }
}

function services(
  context: AuthContext,
  oauth: OAuthServer,
  accountFetch: AccountFetch,
  store: StoreLocation,
  fileLog: FileLog | undefined,
): Omit<AuthService, 'close'> {
  const { keys, live } = context
  const app = createServer(context, oauth, accountFetch)
  const pages = listen(app, peerOf)
  return {
    clusterName: context.clusterName,
    handler: (request, response) => {
      if (!oauth.serve(request, response)) pages(request, response)
    },
    localHandler: listen(app, () => ({ remoteAddress: 'local', identity: localAdministrator(context.now()), internal: true })),
    carrier: (identity) => carry(app, { remoteAddress: 'internal', internal: true, ...(identity && { identity }) }),
    feed: live,
    catchUp: () => context.changes.catchUp(),
    onSessionKept: context.onSessionKept,
    shipJournal: (source) =>
      startShippingThread({
        source,
        store,
        clusterName: context.clusterName,
        onAppended: fileLog && ((lines) => fileLog.append(lines)),
        log: context.log,
      }),
    proofs: createSharedProofs(context),
    noteRefusedRequest: async (request, error) => await noteRefusedRequest(context, request, error),
    deriveKey: (purpose) => Buffer.from(hkdfSync('sha256', keys.formKey, '', purpose, 32)),
    assertionKeys: () => [{ kid: keys.assertion.kid, publicKey: keys.assertion.publicKey }],
    hostAuthorityPems: () => [keys.host.certificatePem],
    userAuthorityPems: () => [keys.user.certificatePem],
    issueServerCertificate: (names) => issueServerCertificate(context, names),
    endWatches: () => context.watches.close(),
    hasUsers: async () => live.list('user').length > 0,
  }
}

function listen(app: Hono<AppEnv>, peer: (request: IncomingMessage) => Peer): RequestListener {
  return (request, response) => {
    const listener = getRequestListener((fetched) => app.fetch(fetched, { peer: peer(request), node: { request, response } }), {
      overrideGlobalObjects: false,
    })
    void listener(request, response)
  }
}

function carry(app: Hono<AppEnv>, peer: Peer): ReturnType<AuthService['carrier']> {
  return async ({ method, path, headers, body, remoteAddress = peer.remoteAddress }) => {
    const request = new Request(`http://auth.internal${path}`, { method, headers, ...(body !== undefined && { body }) })
    const response = await app.fetch(request, { peer: { ...peer, remoteAddress } })
    return { status: response.status, body: await response.text() }
  }
}

/** Who the local socket speaks for, and whoever sets up the cluster from within the process; `now` in ms since 1970. */
export function localAdministrator(now: number): Identity {
  return {
    kind: 'host',
    name: LOCAL_ADMINISTRATOR,
    roles: ['Admin'],
    traits: {},
    credential: 'local',
    credentialId: 'local',
    expiresAt: now + LOCAL_SESSION_MS,
    mfaVerified: true,
  }
}

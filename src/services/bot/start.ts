import { createPrivateKey } from 'node:crypto'
import type { Connection } from '../../client/credentials.ts'
import type { Logger } from '../../lib/log.ts'
import { createMetrics } from '../../lib/metrics.ts'
import type { Environment } from '../../lib/paths.ts'
import { Bot, SELF } from './bot.ts'
import type { BotService } from './bot-service.ts'
import type { BotCluster, Issued, OwnIdentity } from './cluster.ts'
import { connectAs, openProxy } from './connect-cluster.ts'
import type { BotConfig, NamedService } from './config.ts'
import { createDirectoryDestination } from './directory-destination.ts'
import type { DirectoryDependencies } from './directory-destination.ts'
import type { Destination, DestinationConfig, StorageConfig } from './destination.ts'
import { startDiagnostics } from './diagnostics.ts'
import type { Diagnostics } from './diagnostics.ts'
import { HealthBoard } from './health.ts'
import { createIdentityService } from './identity-service.ts'
import { createKubernetesSecret } from './kubernetes-secret.ts'
import type { KubernetesApi } from './kubernetes-secret.ts'
import { createMcpService } from './mcp-service.ts'
import { createMemoryDestination } from './memory-destination.ts'
import { readOnboarding } from './onboarding.ts'
import { findBoundKey, OwnKeeper } from './own-identity.ts'
import type { OauthTokenConfig } from './service.ts'
import { requestToken } from './token-request.ts'
import type { IssuedToken } from './token-request.ts'
import { createTokenService } from './token-service.ts'
import { createJwtSvidService, createX509SvidService } from './svid-service.ts'
import { openStorage } from './storage.ts'
import type { Storage } from './storage.ts'

export interface StartOptions {
  config: BotConfig
  cluster: BotCluster
  env: Environment
  log: Logger
  now: () => number
  random: () => number
  sleep: (ms: number, signal: AbortSignal) => Promise<void>
  pid: number
  directory: DirectoryDependencies
  /** The Kubernetes API server, for a bot in a pod. */
  kubernetes: KubernetesApi | undefined
}

export interface RunningBot {
  diagnostics: Diagnostics | undefined
  /** Settles when the signal has fired, or with oneshot when everything is written. */
  run(signal: AbortSignal): Promise<void>
  renewNow(): void
  close(): Promise<void>
}

/** Wires a bot by its configuration. Whoever starts it closes it. */
export async function startBot(options: StartOptions): Promise<RunningBot> {
  const { config, log, now, random, sleep } = options
  const storage = await openBotStorage(config.storage, options)
  const services = config.services.flatMap((service) => createService(service, options, storage))
  const metrics = createMetrics()
  const health = new HealthBoard([SELF, ...services.map(({ name }) => name)], metrics)
  const readProof = () => readOnboarding(config.onboarding, options.env)
  const own = new OwnKeeper({ storage, cluster: options.cluster, readProof })
  const bot = new Bot({
    own,
    services,
    cluster: options.cluster,
    oneshot: config.oneshot,
    intervalMs: config.intervalMs,
    health,
    log,
    now,
    random,
    sleep,
  })
  let diagnostics: Diagnostics | undefined
  try {
    diagnostics = config.diag && (await startDiagnostics(config.diag, { health, metrics, log }))
  } catch (thrown) {
    await storage.close()
    throw thrown
  }
  return {
    diagnostics,
    run: (signal) => (config.oneshot ? bot.runOnce(signal) : bot.run(signal)),
    renewNow: () => bot.renewNow(),
    async close() {
      for (const service of services) await service.close?.()
      await diagnostics?.close()
      await storage.close()
    },
  }
}

/** The bot's own storage, for this process alone until it is closed. */
export async function openBotStorage(config: StorageConfig, options: Pick<StartOptions, 'directory' | 'pid' | 'now'>): Promise<Storage> {
  const isMemory = config.type === 'memory'
  const destination = isMemory ? createMemoryDestination() : createDirectoryDestination({ ...config, readers: [] }, options.directory)
  const storage = await openStorage(destination, isMemory ? undefined : config.path, options)
  try {
    // Damaged, it is better told at the start than again and again.
    await storage.load()
    return storage
  } catch (thrown) {
    await storage.close()
    throw thrown
  }
}

/** The services by their type. */
function createService(service: NamedService, options: StartOptions, storage: Storage): BotService[] {
  const { cluster, config, directory, log, now } = options
  const open = (place: DestinationConfig): Destination => openDestination(place, options)
  switch (service.type) {
    case 'identity':
      return [createIdentityService(service, { cluster, destination: open(service.destination) })]
    case 'oauth-token':
      return [createTokenService(service, { request: requestWith(options, storage), destination: open(service.destination) })]
    case 'workload-identity-x509':
      return [createX509SvidService(service, { cluster, destination: open(service.destination) })]
    case 'workload-identity-jwt':
      return [createJwtSvidService(service, { cluster, destination: open(service.destination) })]
    case 'mcp': {
      if (config.oneshot) {
        log.warn('left out: with oneshot nothing listens', { service: service.name })
        return []
      }
      const { uid, gid } = directory
      const connect = (identity: Issued): Connection => connectAs(config, identity)
      return [
        createMcpService(service, { cluster, connect, destination: service.destination && open(service.destination), uid, gid, log, now }),
      ]
    }
  }
}

/** An endpoint token lives for an hour at most. */
const MAX_TOKEN_SECONDS = 3600

/** Asks for access tokens: with the identity of the bot, or for an OAuth client with the key that the storage holds. */
function requestWith({ cluster, config, now }: StartOptions, storage: Storage) {
  return async (own: OwnIdentity, service: NamedService & OauthTokenConfig): Promise<IssuedToken> => {
    const { client_id, audience, scope = 'mcp', roles, ttlMs } = service
    if (client_id === undefined) {
      const endpoint = new URL(audience).pathname
      return await cluster.issueToken(own, { endpoint, roles, ttlSeconds: Math.min(MAX_TOKEN_SECONDS, Math.floor(ttlMs / 1000)) })
    }
    const privateKey = createPrivateKey(await findBoundKey(storage))
    const http = openProxy(config, own)
    try {
      return await requestToken(http, { clientId: client_id, audience, scope, privateKey, now })
    } finally {
      http.close()
    }
  }
}

function openDestination(config: DestinationConfig, { directory, kubernetes }: StartOptions): Destination {
  if (config.type === 'directory') return createDirectoryDestination(config, directory)
  return config.type === 'memory' ? createMemoryDestination() : createKubernetesSecret(config, kubernetes)
}

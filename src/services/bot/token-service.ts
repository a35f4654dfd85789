import { AppError } from '../../lib/errors.ts'
import type { BotService } from './bot-service.ts'
import type { BotCluster } from './cluster.ts'
import type { NamedService } from './config.ts'
import type { Destination } from './destination.ts'
import type { OauthTokenConfig } from './service.ts'

/** Keeps the file `token` of a destination fresh, for clients that speak HTTP. Throws `unimplemented` where the cluster issues no tokens. */
export function createTokenService(
  config: NamedService & OauthTokenConfig,
  { cluster, destination }: { cluster: BotCluster; destination: Destination },
): BotService {
  const issueToken = cluster.issueToken?.bind(cluster)
  if (!issueToken)
    throw new AppError('unimplemented', `${config.name}: this version issues no access tokens (type oauth-token): use type identity or mcp`)
  return {
    name: config.name,
    intervalMs: config.intervalMs,
    check: () => destination.check(),
    async renew(own) {
      await destination.check()
      const ttlSeconds = Math.floor(config.ttlMs / 1000)
      const { token, expiresAt } = await issueToken(own, { audience: config.audience, roles: config.roles, ttlSeconds })
      await destination.write(new Map([['token', token]]))
      return { expiresAt }
    },
  }
}

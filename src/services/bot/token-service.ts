import type { BotService } from './bot-service.ts'
import type { OwnIdentity } from './cluster.ts'
import type { NamedService } from './config.ts'
import type { Destination } from './destination.ts'
import { createFileService } from './file-service.ts'
import type { OauthTokenConfig } from './service.ts'
import type { IssuedToken } from './token-request.ts'

/** Keeps the file `token` of a destination fresh, for clients that speak HTTP. How long a token lives is the cluster's to say. */
export function createTokenService(
  config: NamedService & OauthTokenConfig,
  {
    request,
    destination,
  }: { request: (own: OwnIdentity, config: NamedService & OauthTokenConfig) => Promise<IssuedToken>; destination: Destination },
): BotService {
  return createFileService(config, destination, async (own) => {
    const { token, expiresAt } = await request(own, config)
    return { files: new Map([['token', token]]), expiresAt }
  })
}

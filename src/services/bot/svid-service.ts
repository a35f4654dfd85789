import { JWT_SVID_FILE, renderX509Files, SVID_KEY_FILE } from '../../client/workload-identity.ts'
import type { BotService } from './bot-service.ts'
import type { BotCluster } from './cluster.ts'
import type { NamedService } from './config.ts'
import type { Destination } from './destination.ts'
import { createFileService } from './file-service.ts'
import { findKey } from './identity-service.ts'
import type { JwtSvidConfig, X509SvidConfig } from './service.ts'

interface SvidParts {
  cluster: Pick<BotCluster, 'issueX509Svid' | 'issueJwtSvid'>
  destination: Destination
}

/** Keeps a certificate with a SPIFFE ID fresh, its key, which stays the same, and what verifies the other workloads of the trust domain. */
export function createX509SvidService(config: NamedService & X509SvidConfig, { cluster, destination }: SvidParts): BotService {
  return createFileService(config, destination, async (own) => {
    const privateKey = await findKey(destination, SVID_KEY_FILE)
    const svid = await cluster.issueX509Svid(own, wantedOf(config), privateKey)
    return { files: renderX509Files(svid, privateKey), expiresAt: Date.parse(svid.expires) }
  })
}

/** Keeps a JWT with a SPIFFE ID fresh. */
export function createJwtSvidService(config: NamedService & JwtSvidConfig, { cluster, destination }: SvidParts): BotService {
  return createFileService(config, destination, async (own) => {
    const { svid, expires } = await cluster.issueJwtSvid(own, wantedOf(config), config.audiences)
    return { files: new Map([[JWT_SVID_FILE, svid]]), expiresAt: Date.parse(expires) }
  })
}

function wantedOf({ selector, roles, ttlMs }: NamedService & (X509SvidConfig | JwtSvidConfig)) {
  return { selector, roles, ttlSeconds: Math.floor(ttlMs / 1000) }
}

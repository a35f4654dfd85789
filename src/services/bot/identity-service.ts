import { createPublicKey } from 'node:crypto'
import { renderIdentityFile } from '../../ca/identity-file.ts'
import { generateKeyPair, parsePrivateKey, renderPublicKey } from '../../ca/keys.ts'
import type { BotCluster, Issued } from './cluster.ts'
import type { NamedService } from './config.ts'
import type { Destination } from './destination.ts'
import type { IdentityConfig } from './service.ts'
import type { BotService } from './bot-service.ts'
import { createFileService } from './file-service.ts'

/**
 * Keeps the files of a destination fresh: `identity` for `tsh -i`, and its parts. The key stays the same from one renewal to the next, also after
 * a restart: so a program that reads `key` and `tlscert` one after the other never holds a key of one and a certificate of another.
 */
export function createIdentityService(
  config: NamedService & IdentityConfig,
  { cluster, destination }: { cluster: Pick<BotCluster, 'issueOutput'>; destination: Destination },
): BotService {
  return createFileService(config, destination, async (own) => {
    const issued = await cluster.issueOutput(own, {
      roles: config.roles,
      ttlSeconds: Math.floor(config.ttlMs / 1000),
      allowReissue: config.allow_reissue,
      privateKey: await findKey(destination, 'key'),
    })
    return { files: renderFiles(issued), expiresAt: issued.expiresAt }
  })
}

/** The private key of a destination, or a new one where there is none that can be read. */
export async function findKey(destination: Destination, file: string) {
  const known = await destination.read(file)
  if (known !== undefined) {
    try {
      return parsePrivateKey(known)
    } catch {
      // Damaged or of another kind: it is replaced, as is everything made with it.
    }
  }
  return (await generateKeyPair()).privateKey
}

/** The identity comes last: whoever waits for it finds the rest there already. */
function renderFiles({ identity, hostAuthorities, userAuthorities }: Issued): Map<string, string> {
  const authorities = (pems: readonly string[]): string => pems.map((pem) => `${pem.trim()}\n`).join('')
  return new Map([
    ['teleport-host-ca.crt', authorities(hostAuthorities)],
    ['teleport-user-ca.crt', authorities(userAuthorities)],
    ['key', identity.privateKeyPem],
    ['key.pub', renderPublicKey(createPublicKey(identity.privateKeyPem))],
    ['tlscert', identity.certificatePem],
    ['identity', renderIdentityFile(identity)],
  ])
}

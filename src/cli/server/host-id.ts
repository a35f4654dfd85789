import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { readTextIfPresent, writeFileAtomic } from '../../lib/atomic-file.ts'
import type { Identity } from '../../resources/identity.ts'

/** The name of this host in the cluster, made at the first start on a data directory. */
export async function loadHostId(dataDirectory: string): Promise<string> {
  const path = join(dataDirectory, 'host_uuid')
  const known = (await readTextIfPresent(path))?.trim()
  if (known) return known
  const created = randomUUID()
  await writeFileAtomic(path, `${created}\n`)
  return created
}

/** What a service of this process is at the Auth Service. */
export function hostIdentity(hostId: string, ...roles: ('App' | 'Db' | 'Proxy')[]): Identity {
  return {
    kind: 'host',
    name: hostId,
    roles,
    traits: {},
    credential: 'local',
    credentialId: hostId,
    expiresAt: Number.MAX_SAFE_INTEGER,
    mfaVerified: true,
  }
}

import type { Sealer } from '../../ca/sealed.ts'
import { CLUSTER_AUTH_PREFERENCE } from '../../resources/cluster-auth-preference.ts'
import { isKind, KINDS } from '../../resources/registry.ts'
import type { Kind } from '../../resources/registry.ts'
import { transact } from '../../storage/database.ts'
import type { Executor } from '../../storage/database.ts'
import { createResource, findResource, listResources } from '../../storage/resources.ts'
import { findSecret, setSecret } from '../../storage/secrets.ts'
import type { LiveResources } from './live-resources.ts'
import { defaultAuthPreference, presetRoles } from './presets.ts'

const PRESETS_MADE = 'presets'

/** What a new cluster has from the beginning; once, so that what an administrator deletes stays deleted. */
export async function seedResources(db: Executor, sealer: Sealer, now: number): Promise<void> {
  await transact(db, async (tx) => {
    if (!(await findResource(tx, 'cluster_auth_preference', CLUSTER_AUTH_PREFERENCE, now)))
      await createResource(tx, 'cluster_auth_preference', defaultAuthPreference(), now)
    if ((await findSecret(tx, PRESETS_MADE)) !== undefined) return
    for (const role of presetRoles()) {
      if (!(await findResource(tx, 'role', role.metadata.name, now))) await createResource(tx, 'role', role, now)
    }
    await setSecret(tx, PRESETS_MADE, sealer.seal(Buffer.from('made'), PRESETS_MADE))
  })
}

/** Reads everything once; from then on memory and store change together. */
export async function loadResources(db: Executor, live: LiveResources, now: number): Promise<void> {
  for (const kind of Object.keys(KINDS)) if (isKind(kind)) await loadKind(db, live, kind, now)
}

async function loadKind(db: Executor, live: LiveResources, kind: Kind, now: number): Promise<void> {
  for (const resource of await listResources(db, kind, now)) live.put(kind, resource)
}

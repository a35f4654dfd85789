import type { Sealer } from '../../ca/sealed.ts'
import { CLUSTER_AUTH_PREFERENCE } from '../../resources/cluster-auth-preference.ts'
import { lockChanges } from '../../storage/changes.ts'
import { transact } from '../../storage/database.ts'
import type { Executor } from '../../storage/database.ts'
import { createResource, findResource } from '../../storage/resources.ts'
import { findSecret, setSecret } from '../../storage/secrets.ts'
import { defaultAuthPreference, presetRoles } from './presets.ts'

const PRESETS_MADE = 'presets'

/** What a new cluster has from the beginning; once, so that what an administrator deletes stays deleted. */
export async function seedResources(db: Executor, sealer: Sealer, now: number): Promise<void> {
  await transact(db, async (tx) => {
    // Of several processes that begin at once one goes first.
    await lockChanges(tx)
    if (!(await findResource(tx, 'cluster_auth_preference', CLUSTER_AUTH_PREFERENCE, now)))
      await createResource(tx, 'cluster_auth_preference', defaultAuthPreference(), now)
    if ((await findSecret(tx, PRESETS_MADE)) !== undefined) return
    for (const role of presetRoles()) {
      if (!(await findResource(tx, 'role', role.metadata.name, now))) await createResource(tx, 'role', role, now)
    }
    await setSecret(tx, PRESETS_MADE, sealer.seal(Buffer.from('made'), PRESETS_MADE))
  })
}

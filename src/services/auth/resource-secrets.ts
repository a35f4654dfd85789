import type { WireResource } from '../../api/resources.ts'
import { AppError } from '../../lib/errors.ts'
import { usesSecret } from '../../resources/oauth-client.ts'
import { kindRow, parseResource } from '../../resources/registry.ts'
import type { Kind } from '../../resources/registry.ts'
import type { Executor } from '../../storage/database.ts'
import { deleteSecret, findSecret, setSecret } from '../../storage/secrets.ts'
import type { AuthContext } from './context.ts'
import type { AnyResource } from './resource-rules.ts'

/**
 * Takes the secret members out of a resource that is being saved and keeps them sealed; what an update leaves out stays as it is. The resource as
 * it is to be saved. Throws `invalid_argument` for a member that nobody ever gave.
 */
export async function storeSecrets(
  context: Pick<AuthContext, 'sealer'>,
  tx: Executor,
  resource: AnyResource,
  existing: AnyResource | undefined,
): Promise<AnyResource> {
  const fields = kindRow(resource.kind).secretFields ?? []
  if (fields.length === 0) return resource
  for (const field of fields) {
    const name = secretName(resource, field)
    if (!hasSecrets(resource)) {
      await deleteSecret(tx, name)
      continue
    }
    const given: unknown = Reflect.get(resource.spec, field)
    if (typeof given === 'string') await setSecret(tx, name, context.sealer.seal(Buffer.from(given), name))
    else if (!existing || (await findSecret(tx, name)) === undefined)
      throw new AppError('invalid_argument', `spec.${field}: required for a new ${resource.kind}`)
  }
  return parseResource(resource.kind, {
    ...resource,
    spec: Object.fromEntries(Object.entries(resource.spec).filter(([field]) => !fields.includes(field))),
  })
}

/** Whether a resource of a kind that may have secrets has to have them. */
function hasSecrets(resource: AnyResource): boolean {
  return resource.kind !== 'oauth_client' || usesSecret(resource.spec)
}

/** The resource with its secret members, for those who may see them. */
export async function withSecretFields(context: Pick<AuthContext, 'db' | 'sealer'>, resource: AnyResource): Promise<WireResource> {
  const fields = kindRow(resource.kind).secretFields ?? []
  const opened = await Promise.all(
    fields.map(async (field) => {
      const value = await openSecret(context, resource, field)
      return value === undefined ? [] : [[field, value]]
    }),
  )
  return fields.length === 0 ? resource : { ...resource, spec: { ...resource.spec, ...Object.fromEntries(opened.flat()) } }
}

/** One secret member; undefined when there is none. */
export async function openSecret(
  { db, sealer }: Pick<AuthContext, 'db' | 'sealer'>,
  resource: AnyResource,
  field: string,
): Promise<string | undefined> {
  const name = secretName(resource, field)
  const sealed = await findSecret(db, name)
  return sealed === undefined ? undefined : sealer.open(sealed, name).toString()
}

export async function deleteSecrets(tx: Executor, resource: { kind: Kind; metadata: { name: string } }): Promise<void> {
  for (const field of kindRow(resource.kind).secretFields ?? []) await deleteSecret(tx, secretName(resource, field))
}

function secretName({ kind, metadata }: { kind: Kind; metadata: { name: string } }, field: string): string {
  return `resource/${kind}/${metadata.name}/${field}`
}

import { AppError } from '../../lib/errors.ts'
import { secretsOf } from '../../resources/app.ts'
import type { Executor } from '../../storage/database.ts'
import { deleteSecret, findSecret, setSecret } from '../../storage/secrets.ts'
import { authorize } from './authorize.ts'
import type { AuthContext, KnownCaller } from './context.ts'
import type { AnyResource } from './resource-rules.ts'

/** What is stored, shown and watched of a secret: all but its value. Other resources are what they are. */
export function withoutValue(resource: AnyResource): AnyResource {
  return resource.kind === 'secret' ? { ...resource, spec: {} } : resource
}

/** Puts the value of a secret away, sealed, where one is given. */
export async function sealValue({ sealer }: AuthContext, tx: Executor, resource: AnyResource): Promise<void> {
  if (resource.kind !== 'secret' || resource.spec.value === undefined) return
  const place = placeOf(resource.metadata.name)
  await setSecret(tx, place, sealer.seal(Buffer.from(resource.spec.value), place))
}

export async function dropValue(tx: Executor, name: string): Promise<void> {
  await deleteSecret(tx, placeOf(name))
}

/** Undefined when there is no such secret. */
export async function findValue({ db, sealer, live }: AuthContext, name: string): Promise<string | undefined> {
  if (!live.find('secret', name)) return undefined
  const place = placeOf(name)
  const sealed = await findSecret(db, place)
  return sealed === undefined ? undefined : sealer.open(sealed, place).toString()
}

/**
 * Who may register an MCP server could send a secret anywhere with it: naming one takes the verb `use` on it.
 * Throws `permission_denied`, or `failed_precondition` for a secret that does not exist, whose rules nobody could judge.
 */
export async function authorizeSecrets(context: AuthContext, caller: KnownCaller, resource: AnyResource): Promise<void> {
  if (resource.kind !== 'app') return
  const own = resource.spec.mcp?.oauth?.client_secret
  for (const name of [...secretsOf(resource), ...(own ? [own.secret] : [])]) {
    const secret = context.live.find('secret', name)
    await authorize(context, caller, 'secret', 'use', secret)
    if (!secret) throw new AppError('failed_precondition', `the secret "${name}" does not exist: create it before the app that names it`)
  }
}

function placeOf(name: string): string {
  return `secret/${name}`
}

import type { OutputOf, ParsedInputOf } from '../../../api/route.ts'
import type { ROUTES } from '../../../api/routes.ts'
import type { SsoTest } from '../../../api/sso.ts'
import { parseResource } from '../../../resources/registry.ts'
import { authorize } from '../authorize.ts'
import type { AuthContext, KnownCaller } from '../context.ts'
import { originOf } from '../oauth/issuer.ts'
import { beginTrial, findTrialResult } from '../sso/trial.ts'

type Input<N extends keyof typeof ROUTES> = ParsedInputOf<(typeof ROUTES)[N]>

export async function startSsoTest(
  context: AuthContext,
  { kind, resource }: Input<'startSsoTest'>,
  caller: KnownCaller,
): Promise<OutputOf<typeof ROUTES.startSsoTest>> {
  const connector = parseResource(kind, resource)
  await authorize(context, caller, kind, 'create', connector)
  const existing = context.live.find(kind, connector.metadata.name)
  if (existing) await authorize(context, caller, kind, 'update', existing)
  const { id, expires } = await beginTrial(context, connector, caller.identity.name)
  const path = `/web/sso/test?id=${id}`
  return { id, path, url: `${originOf(context.publicAddress())}${path}`, expires: new Date(expires).toISOString() }
}

export async function getSsoTest(context: AuthContext, { id }: Input<'getSsoTest'>, { identity }: KnownCaller): Promise<SsoTest> {
  return await findTrialResult(context, id, identity.name)
}

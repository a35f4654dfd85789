import type { OutputOf, ParsedInputOf } from '../../../api/route.ts'
import type { ROUTES } from '../../../api/routes.ts'
import { buildEvent } from '../../../audit/build-event.ts'
import { AppError } from '../../../lib/errors.ts'
import { secretsOf } from '../../../resources/app.ts'
import type { AuthContext, KnownCaller } from '../context.ts'
import { callerFields } from '../event-fields.ts'
import { listAppOffers } from '../offers.ts'
import { findValue } from '../secrets.ts'

/**
 * The value of a secret, for an agent that needs it: one that offers a server whose app, as it is registered, names it. What an agent itself
 * says of a server does not count. To all others the secret is as absent as one that does not exist.
 */
export async function readSecret(
  context: AuthContext,
  { name }: ParsedInputOf<typeof ROUTES.readSecret>,
  caller: KnownCaller,
): Promise<OutputOf<typeof ROUTES.readSecret>> {
  const { identity: agent } = caller
  if (agent.kind !== 'host') throw new AppError('permission_denied', 'secrets are given to agents only')
  const servers = serversWith(context, name, agent.name)
  // Before the value: one that changes in between is asked for again.
  const revision = context.live.find('secret', name)?.metadata.revision ?? ''
  const value = servers.length === 0 ? undefined : await findValue(context, name)
  if (value === undefined) throw new AppError('not_found', `no MCP server that this agent offers has a secret "${name}"`)
  if (context.firstTimes.isFirst(agent.name, `secret ${name}`, revision)) {
    const fields = { ...callerFields(caller), success: true, kind: 'secret', name, revision, server_id: agent.name, servers }
    await context.journal.record([buildEvent('secret.read', fields, context.build)])
  }
  return { value, revision }
}

function serversWith(context: AuthContext, secret: string, hostId: string): string[] {
  const offered = listAppOffers(context).filter(({ spec }) => spec.host_id === hostId)
  const names = new Set(offered.map(({ spec }) => spec.app.metadata.name))
  return context.live
    .list('app')
    .filter((app) => names.has(app.metadata.name) && secretsOf(app).includes(secret))
    .map((app) => app.metadata.name)
}

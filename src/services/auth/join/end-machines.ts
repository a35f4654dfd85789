import { serialsOf } from '../../../resources/host.ts'
import type { ResourceOf } from '../../../resources/registry.ts'
import type { Executor } from '../../../storage/database.ts'
import { deleteResource } from '../../../storage/resources.ts'
import { revoke } from '../changes.ts'
import type { AuthContext } from '../context.ts'
import type { AnyResource } from '../resource-rules.ts'
import { hasExpired } from '../live-resources.ts'
import { isEphemeral, safeTokenName } from './join-tokens.ts'

/**
 * Ends what rests on a resource that is being deleted, or begun anew, within its transaction: with a bot its instances go, and the secrets
 * that were made for it; with a join token the instances and hosts that joined with it; with a host what it offers. A token that is used up
 * or over ends nothing.
 */
export async function endMachinesOf(context: AuthContext, tx: Executor, resource: AnyResource): Promise<void> {
  const { live } = context
  const { name } = resource.metadata
  if (resource.kind !== 'bot' && resource.kind !== 'token') {
    const offers = resource.kind === 'host' ? offersOf(context, [resource]) : []
    for (const offer of offers) await deleteResource(tx, offer.kind, offer.metadata.name, context.now())
    return await revokeMachine(context, tx, resource)
  }
  const token = resource.kind === 'token' ? safeTokenName(context, resource) : undefined
  const instances = live
    .list('bot_instance')
    .filter(({ spec, status }) => (token === undefined ? spec.bot_name === name : status.join_token === token))
  const hosts = live.list('host').filter(({ status }) => token !== undefined && status.join_token === token)
  const secrets = live.list('token').filter((other) => token === undefined && isEphemeral(other) && other.spec.bot_name === name)
  const machines = [...instances, ...hosts, ...offersOf(context, hosts), ...secrets].filter(
    (machine) => !hasExpired(machine, context.now()),
  )
  for (const machine of machines) {
    await deleteResource(tx, machine.kind, machine.metadata.name, context.now())
    await revokeMachine(context, tx, machine)
  }
}

async function revokeMachine(context: AuthContext, tx: Executor, machine: AnyResource): Promise<void> {
  if (machine.kind === 'bot_instance') await revoke(context, tx, 'bot_instance', [machine.metadata.name])
  if (machine.kind === 'host') await revoke(context, tx, 'certificate', serialsOf(machine))
}

/** What hosts said that they offer is over with them. */
function offersOf({ live }: AuthContext, hosts: readonly AnyResource[]): ResourceOf<'app_server' | 'db_server'>[] {
  const ids = new Set(hosts.map(({ metadata }) => metadata.name))
  return [...live.list('app_server'), ...live.list('db_server')].filter(({ spec }) => ids.has(spec.host_id))
}

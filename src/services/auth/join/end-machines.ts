import { serialsOf } from '../../../resources/host.ts'
import type { Executor } from '../../../storage/database.ts'
import { deleteResource } from '../../../storage/resources.ts'
import type { AuthContext } from '../context.ts'
import type { AnyResource } from '../resource-rules.ts'
import { hasExpired } from '../live-resources.ts'
import { isEphemeral, safeTokenName } from './join-tokens.ts'

/**
 * Ends what rests on a resource that is being deleted, or begun anew, within its transaction: with a bot its instances go, and the secrets
 * that were made for it; with a join token the instances and hosts that joined with it. A token that is used up or over ends nothing. Returns what tells everybody who watches.
 */
export async function endMachinesOf(context: AuthContext, tx: Executor, resource: AnyResource): Promise<() => void> {
  const { live } = context
  const { name } = resource.metadata
  const revoke = (machine: AnyResource): void => {
    if (machine.kind === 'bot_instance') live.revoke('bot_instance', machine.metadata.name)
    for (const serial of machine.kind === 'host' ? serialsOf(machine) : []) live.revoke('certificate', serial)
  }
  if (resource.kind !== 'bot' && resource.kind !== 'token') return () => revoke(resource)
  const token = resource.kind === 'token' ? safeTokenName(context, resource) : undefined
  const instances = live
    .list('bot_instance')
    .filter(({ spec, status }) => (token === undefined ? spec.bot_name === name : status.join_token === token))
  const hosts = live.list('host').filter(({ status }) => token !== undefined && status.join_token === token)
  const secrets = live.list('token').filter((other) => token === undefined && isEphemeral(other) && other.spec.bot_name === name)
  const machines = [...instances, ...hosts, ...secrets].filter((machine) => !hasExpired(machine, context.now()))
  for (const machine of machines) await deleteResource(tx, machine.kind, machine.metadata.name, context.now())
  return () => {
    for (const machine of machines) {
      live.remove(machine.kind, machine.metadata.name)
      revoke(machine)
    }
  }
}

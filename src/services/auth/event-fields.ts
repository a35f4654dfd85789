import { botNameOf } from '../../resources/bot.ts'
import type { Caller } from './context.ts'

/** The caller's part of every event. */
export function callerFields({ identity, remoteAddress }: Caller) {
  if (!identity) return { remote_addr: remoteAddress }
  return {
    user: identity.name,
    ...(identity.kind !== 'host' && { user_kind: identity.kind === 'bot' ? 2 : 1 }),
    user_roles: identity.roles,
    credential: { kind: identity.credential, id: identity.credentialId },
    remote_addr: remoteAddress,
    ...(identity.kind === 'bot' && { bot_name: botNameOf(identity.name) }),
    ...(identity.botInstanceId !== undefined && { bot_instance_id: identity.botInstanceId }),
    ...(identity.joinToken !== undefined && { join_token: identity.joinToken }),
    ...(identity.joinMethod !== undefined && { join_method: identity.joinMethod }),
  }
}

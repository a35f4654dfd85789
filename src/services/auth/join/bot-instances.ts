import type { JoinedIdentity } from '../../../api/join.ts'
import { lockReason } from '../../../access/locks.ts'
import { buildEvent } from '../../../audit/build-event.ts'
import type { IssuedCertificate } from '../../../ca/identity-certificate.ts'
import type { IdentityFields } from '../../../ca/identity-uris.ts'
import { parseDuration } from '../../../lib/duration.ts'
import { AppError } from '../../../lib/errors.ts'
import type { Authentication, BotInstance } from '../../../resources/bot-instance.ts'
import { botNameOf, botUserName } from '../../../resources/bot.ts'
import type { Bot } from '../../../resources/bot.ts'
import type { Executor } from '../../../storage/database.ts'
import type { AuthContext, KnownCaller } from '../context.ts'
import { callerFields } from '../event-fields.ts'
import type { Staged } from '../journal.ts'
import { lockMachine } from './lock-machine.ts'
import { renderJoined } from './machine.ts'

const OWN_TTL_MS = 3_600_000
const MAX_OWN_TTL_MS = 24 * 3_600_000

/** The bot and the instance that a caller is of, as they are now. Throws `unauthenticated` when they are gone. */
export function getMachine(context: Pick<AuthContext, 'live'>, { identity }: KnownCaller): { bot: Bot; instance: BotInstance } {
  return findMachine(context, identity.name, identity.botInstanceId)
}

/** The same by what a certificate says. */
export function findMachine(
  { live }: Pick<AuthContext, 'live'>,
  userName: string,
  instanceId: string | undefined,
): { bot: Bot; instance: BotInstance } {
  const name = botNameOf(userName)
  const bot = live.find('bot', name)
  const instance = instanceId === undefined ? undefined : live.find('bot_instance', instanceId)
  if (!bot) throw new AppError('unauthenticated', `bot "${name}" does not exist any more`)
  if (instance?.spec.bot_name !== name)
    throw new AppError('unauthenticated', `this instance of the bot "${name}" was removed, or is over: join again with a new token`)
  return { bot, instance }
}

/** Which of the instance's own certificates a caller uses: a copy is one that was renewed already. */
export function useOf({ status }: BotInstance, { identity }: KnownCaller): 'current' | 'before' | 'copied' {
  if (identity.internal === true && identity.credentialId === status.serial) return 'current'
  const mayBeLost = !status.used && identity.internal === true && identity.credentialId === status.previous_serial
  return mayBeLost ? 'before' : 'copied'
}

/**
 * What an instance keeps of it that one of its own certificates was used; undefined when that says nothing new. Who goes on with the one before
 * the current never got the current: it counts no more, and whoever has it after all has a copy.
 */
export function statusAfterUse({ status }: BotInstance, use: 'current' | 'before'): BotInstance['status'] | undefined {
  if (use === 'current') return status.used ? undefined : { ...status, used: true }
  const { previous_serial: serial = status.serial, ...rest } = status
  return { ...rest, serial, used: true, generation: status.generation - 1 }
}

/** Locks an instance whose certificate was copied; what is thrown once that is kept. */
export async function lockInstance(
  context: AuthContext,
  tx: Executor,
  instance: BotInstance,
  caller: KnownCaller,
): Promise<Staged<AppError>> {
  const message =
    'a certificate of this bot was used that had been renewed already, so there is a copy of it: find the copy, ' +
    'remove this instance, and let the bot join anew with a new token'
  const { lock, event } = await lockMachine(context, tx, { bot_instance_id: instance.metadata.name }, message)
  const told = { ...callerFields(caller), success: false, error: message, generation: instance.status.generation }
  const mismatch = buildEvent('cert.generation_mismatch', { ...told, serial: caller.identity.credentialId }, context.build)
  return { output: new AppError('permission_denied', lockReason(lock)), events: [mismatch, event] }
}

/** What a bot's own certificate says: who it is, and that it opens nothing. */
export function ownFields(bot: Bot, instanceId: string): IdentityFields {
  return {
    kind: 'bot',
    name: botUserName(bot.metadata.name),
    roles: [],
    mfaVerified: false,
    botInstanceId: instanceId,
    internal: true,
  }
}

/** Milliseconds a bot's own certificate lives: an hour unless asked for otherwise, a day at most. */
export function ownTtl(bot: Bot, wantedSeconds: number | undefined): number {
  const wanted = wantedSeconds === undefined ? OWN_TTL_MS : wantedSeconds * 1000
  return Math.min(wanted, MAX_OWN_TTL_MS, parseDuration(bot.spec.max_session_ttl))
}

/** When an instance is over: its outputs may outlive its own certificate by as long as the bot's certificates may live. */
export function endOf(bot: Bot, certificate: IssuedCertificate): string {
  return new Date(certificate.expiresAt + parseDuration(bot.spec.max_session_ttl)).toISOString()
}

export function authenticationOf(
  context: AuthContext,
  fields: IdentityFields,
  certificate: IssuedCertificate,
  { remoteAddress, hostname }: { remoteAddress: string; hostname: string | undefined },
): Authentication {
  return {
    authenticated_at: new Date(context.now()).toISOString(),
    join_method: fields.joinMethod ?? '',
    ...(fields.joinToken !== undefined && { join_token: fields.joinToken }),
    remote_addr: remoteAddress,
    ...(hostname !== undefined && { hostname }),
    serial: certificate.serial,
    ...(fields.generation !== undefined && { generation: fields.generation }),
  }
}

/** The answer to a bot that joined or renewed. */
export function renderOwn(
  context: AuthContext,
  bot: Bot,
  { metadata, status }: BotInstance,
  certificate: IssuedCertificate,
): JoinedIdentity {
  return renderJoined(context, certificate, {
    kind: 'bot',
    name: botUserName(bot.metadata.name),
    roles: bot.spec.roles,
    renewable: status.renewable,
    bot_instance_id: metadata.name,
    ...(status.renewable && { generation: status.generation }),
  })
}

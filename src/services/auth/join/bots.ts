import { randomUUID } from 'node:crypto'
import type { JoinedIdentity, renewIdentity } from '../../../api/join.ts'
import type { ParsedInputOf } from '../../../api/route.ts'
import type { IssuedCertificate } from '../../../ca/identity-certificate.ts'
import type { IdentityFields } from '../../../ca/identity-uris.ts'
import { AppError } from '../../../lib/errors.ts'
import { MAX_AUTHENTICATIONS } from '../../../resources/bot-instance.ts'
import type { BotInstance } from '../../../resources/bot-instance.ts'
import type { Bot } from '../../../resources/bot.ts'
import type { Executor } from '../../../storage/database.ts'
import { createResource, deleteResource, upsertResource } from '../../../storage/resources.ts'
import { revoke } from '../changes.ts'
import type { AuthContext, KnownCaller } from '../context.ts'
import { parseProvenKey } from '../issue.ts'
import type { Staged } from '../journal.ts'
import { authenticationOf, endOf, getMachine, lockInstance, ownFields, ownTtl, renderOwn, useOf } from './bot-instances.ts'
import { settleBoundKey } from './bound-keypair.ts'
import { isEphemeral, safeTokenName } from './join-tokens.ts'
import { certificateEvent, findLockReason, issueMachine, joinEvent } from './machine.ts'
import { currentToken } from './proven-join.ts'
import type { ProvenJoin } from './proven-join.ts'
import { isRenewable } from './methods.ts'
import { JoinRefusal } from './refusal.ts'

/** Each join makes one, and it is kept for some hours: whoever may join must not fill the store. */
const MAX_INSTANCES = 10_000

/**
 * A new instance of the bot that the token names, and its own certificate, which renews itself and gets outputs and opens nothing. A secret
 * made for the bot is used up by it. Throws `JoinRefusal`.
 */
export async function joinBot(context: AuthContext, tx: Executor, proven: ProvenJoin): Promise<Staged<JoinedIdentity | JoinRefusal>> {
  const token = currentToken(context, proven)
  const joinToken = safeTokenName(context, token)
  const { bot_name: name, join_method: joinMethod } = token.spec
  const bot = name === undefined ? undefined : context.live.find('bot', name)
  if (name === undefined || !bot)
    throw new JoinRefusal(name === undefined ? 'the token names no bot' : `the bot "${name}" does not exist`, { join_token: joinToken })
  const id = randomUUID()
  const isRenewing = isRenewable(joinMethod)
  const fields: IdentityFields = {
    ...ownFields(bot, id),
    joinToken,
    joinMethod,
    ...(isRenewing && { generation: 1 }),
  }
  const locked = findLockReason(context, { ...fields, roles: bot.spec.roles })
  if (locked !== undefined) throw new JoinRefusal(locked, { join_token: joinToken, bot_name: name })
  const instances = context.live.list('bot_instance').filter(({ spec }) => spec.bot_name === name)
  if (instances.length >= MAX_INSTANCES)
    throw new AppError('resource_exhausted', `the bot runs in ${MAX_INSTANCES} places already: remove instances (tctl bots instances ls)`)
  const bound = await settleBoundKey(context, tx, proven, token, { botInstanceId: id })
  if (bound?.refused) return bound.refused
  const replaced = bound?.replaced === undefined ? undefined : context.live.find('bot_instance', bound.replaced)
  if (replaced) {
    await deleteResource(tx, 'bot_instance', replaced.metadata.name, context.now())
    await revoke(context, tx, 'bot_instance', [replaced.metadata.name])
  }
  if (isEphemeral(token)) await deleteResource(tx, 'token', token.metadata.name, context.now())
  const certificate = issueMachine(context, proven.key, fields, ownTtl(bot, proven.input.ttl))
  const { remoteAddress } = proven
  const first = firstInstance(context, proven, bot, { fields, certificate, previous: bound?.previousInstance })
  const instance = await createResource(tx, 'bot_instance', first, context.now())
  const output = renderOwn(context, bot, instance, certificate)
  return {
    output: bound ? { ...output, join_state: bound.joinState } : output,
    events: [
      joinEvent(context, proven, fields, certificate),
      certificateEvent(context, remoteAddress, { certificate, fields, type: 'bot' }),
    ],
  }
}

function firstInstance(
  context: AuthContext,
  { input, remoteAddress, attributes }: ProvenJoin,
  bot: Bot,
  { fields, certificate, previous }: { fields: IdentityFields; certificate: IssuedCertificate; previous: string | undefined },
): BotInstance {
  const { botInstanceId: id = '', joinMethod = '', joinToken = '', generation } = fields
  const authentication = authenticationOf(context, fields, certificate, { remoteAddress, hostname: input.hostname })
  return {
    kind: 'bot_instance',
    version: 'v1',
    metadata: { name: id, expires: endOf(bot, certificate) },
    spec: { bot_name: bot.metadata.name, instance_id: id, ...(previous !== undefined && { previous_instance_id: previous }) },
    status: {
      join_method: joinMethod,
      join_token: joinToken,
      renewable: generation !== undefined,
      generation: 1,
      serial: certificate.serial,
      used: false,
      certificate_expires: new Date(certificate.expiresAt).toISOString(),
      initial_authentication: { ...authentication, ...(attributes && { attributes }) },
      latest_authentications: [authentication],
    },
  }
}

/**
 * A bot's own certificate anew. A certificate that was renewed already is a copy in use: the instance is locked, at once and until somebody
 * removes the lock. Only the one before the current may be renewed again, as long as the current was never seen: its answer may have been lost.
 */
export async function renewBot(
  context: AuthContext,
  input: ParsedInputOf<typeof renewIdentity>,
  caller: KnownCaller,
): Promise<JoinedIdentity> {
  const key = parseProvenKey('renew', '', input)
  const outcome = await context.journal.commit<JoinedIdentity | AppError>(async (tx) => {
    const { bot, instance } = getMachine(context, caller)
    const { status } = instance
    if (!status.renewable)
      throw new AppError('failed_precondition', `a bot that joined by ${status.join_method} does not renew: it joins again`)
    const use = useOf(instance, caller)
    if (use === 'copied') return await lockInstance(context, tx, instance, caller)
    const generation = use === 'current' ? status.generation + 1 : status.generation
    const { joinToken, joinMethod } = caller.identity
    const fields: IdentityFields = {
      ...ownFields(bot, instance.metadata.name),
      ...(joinToken !== undefined && { joinToken }),
      ...(joinMethod !== undefined && { joinMethod }),
      generation,
    }
    // One may have come while this waited for its turn.
    const locked = findLockReason(context, fields)
    if (locked !== undefined) throw new AppError('permission_denied', locked)
    const certificate = issueMachine(context, key, fields, ownTtl(bot, input.ttl))
    const told = { remoteAddress: caller.remoteAddress, hostname: input.hostname }
    const authentications = [...status.latest_authentications, authenticationOf(context, fields, certificate, told)]
    const renewed: BotInstance = {
      ...instance,
      metadata: { ...instance.metadata, expires: endOf(bot, certificate) },
      status: {
        ...status,
        generation,
        serial: certificate.serial,
        ...(use === 'current' && { previous_serial: status.serial }),
        used: false,
        certificate_expires: new Date(certificate.expiresAt).toISOString(),
        latest_authentications: authentications.slice(-MAX_AUTHENTICATIONS),
      },
    }
    const saved = await upsertResource(tx, 'bot_instance', renewed, context.now())
    return {
      output: renderOwn(context, bot, saved, certificate),
      events: [certificateEvent(context, caller.remoteAddress, { certificate, fields, type: 'bot' })],
    }
  })
  if (outcome instanceof AppError) throw outcome
  return outcome
}

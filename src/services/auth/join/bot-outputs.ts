import type { issueBotOutput, JoinedIdentity } from '../../../api/join.ts'
import type { ParsedInputOf } from '../../../api/route.ts'
import { maxSessionTtlMs } from '../../../access/session-limits.ts'
import type { IdentityFields } from '../../../ca/identity-uris.ts'
import { parseDuration } from '../../../lib/duration.ts'
import { AppError } from '../../../lib/errors.ts'
import { rolesOf } from '../authorize.ts'
import type { AuthContext, KnownCaller } from '../context.ts'
import { parseProvenKey } from '../issue.ts'
import { commitAsBot, pickRoles } from './as-bot.ts'
import { certificateEvent, findLockReason, issueMachine, renderJoined } from './machine.ts'

const DEFAULT_TTL_MS = 3_600_000

/** A certificate with the bot's roles, for who works in its name; asked for with the bot's own, or with an output that may have others made. */
export async function issueOutput(
  context: AuthContext,
  input: ParsedInputOf<typeof issueBotOutput>,
  caller: KnownCaller,
): Promise<JoinedIdentity> {
  const { identity } = caller
  if (identity.kind !== 'bot') throw new AppError('permission_denied', 'outputs are issued to bots only')
  if (identity.internal !== true && identity.allowReissue !== true)
    throw new AppError(
      'permission_denied',
      'this identity gets no further certificates: set allow_reissue on the output of tbot that wrote it',
    )
  const key = parseProvenKey('bot-output', '', input)
  return await commitAsBot(context, caller, async ({ bot, instance }) => {
    const isOwn = identity.internal === true
    const roles = pickRoles(isOwn ? bot.spec.roles : identity.roles, input.roles)
    const fields: IdentityFields = {
      kind: 'bot',
      name: identity.name,
      roles,
      mfaVerified: false,
      allowReissue: input.allow_reissue,
      botInstanceId: instance.metadata.name,
      ...(identity.joinToken !== undefined && { joinToken: identity.joinToken }),
      ...(identity.joinMethod !== undefined && { joinMethod: identity.joinMethod }),
    }
    const locked = findLockReason(context, fields)
    if (locked !== undefined) throw new AppError('permission_denied', locked)
    const longest = parseDuration(bot.spec.max_session_ttl)
    const ttlMs = maxSessionTtlMs(rolesOf(context, roles), input.ttl === undefined ? DEFAULT_TTL_MS : input.ttl * 1000, longest)
    const left = isOwn ? longest : identity.expiresAt - context.now()
    const certificate = issueMachine(context, key, fields, Math.min(ttlMs, longest, left))
    return {
      output: renderJoined(context, certificate, {
        kind: 'bot',
        name: identity.name,
        roles,
        renewable: false,
        bot_instance_id: instance.metadata.name,
      }),
      events: [certificateEvent(context, caller.remoteAddress, { certificate, fields, type: 'bot-output' })],
    }
  })
}

import { AppError } from '../../../lib/errors.ts'
import type { BotInstance } from '../../../resources/bot-instance.ts'
import type { Bot } from '../../../resources/bot.ts'
import { upsertResource } from '../../../storage/resources.ts'
import type { AuthContext, KnownCaller } from '../context.ts'
import type { Staged } from '../journal.ts'
import { getMachine, lockInstance, statusAfterUse, useOf } from './bot-instances.ts'

/** The bot and the instance that a caller is of, as they are in the transaction. */
export interface Machine {
  bot: Bot
  instance: BotInstance
}

/** What was issued, and what the instance keeps of it. */
export interface IssuedToBot<T> extends Staged<T> {
  status?: Partial<BotInstance['status']>
}

/**
 * Issues something to a bot, in one transaction with what it says of the bot's own certificate that it was used: one that had been renewed is a
 * copy, and locks the instance (`permission_denied`). A caller who is no bot, or whose bot is gone, is refused as `getMachine` does.
 */
export async function commitAsBot<T>(
  context: AuthContext,
  caller: KnownCaller,
  issue: (machine: Machine) => Promise<IssuedToBot<T>>,
): Promise<T> {
  const outcome = await context.journal.commit<{ issued: T } | { refused: AppError }>(async (tx) => {
    const { bot, instance } = getMachine(context, caller)
    const use = caller.identity.internal === true ? useOf(instance, caller) : undefined
    if (use === 'copied') {
      const { output, ...locked } = await lockInstance(context, tx, instance, caller)
      return { output: { refused: output }, ...locked }
    }
    const { output, events, status: changes } = await issue({ bot, instance })
    const used = use && statusAfterUse(instance, use)
    const status = { ...instance.status, ...used, ...changes }
    if (used ?? changes) await upsertResource(tx, 'bot_instance', { ...instance, status }, context.now())
    return { output: { issued: output }, events }
  })
  if ('refused' in outcome) throw outcome.refused
  return outcome.issued
}

/** All roles that may be given on, or those of them that are asked for. */
export function pickRoles(available: readonly string[], wanted: readonly string[] | undefined): string[] {
  const missing = wanted?.find((role) => !available.includes(role))
  if (missing !== undefined)
    throw new AppError('permission_denied', `the bot does not have the role "${missing}": tctl bots update adds roles`)
  return wanted ? [...new Set(wanted)] : [...available]
}

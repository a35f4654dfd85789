import { z } from 'zod'
import { findDuration } from '../lib/duration.ts'
import { resourceSchema } from './envelope.ts'
import type { Traits } from './user.ts'

const DAY_MS = 86_400_000
const MAX_SESSION_MS = 7 * DAY_MS

const specSchema = z.strictObject({
  roles: z.array(z.string()).default([]),
  traits: z.array(z.strictObject({ name: z.string().min(1), values: z.array(z.string()) })).default([]),
  max_session_ttl: z
    .string()
    .refine((text) => {
      const ms = findDuration(text)
      return ms !== undefined && ms >= 60_000 && ms <= MAX_SESSION_MS
    }, 'must be a duration from 1m to 168h')
    .default('12h')
    .describe('the longest life of a certificate of the bot'),
})

const statusSchema = z.strictObject({ user_name: z.string().optional(), role_name: z.string().optional() })

/** A machine identity: what joins in its name bears its roles and traits. */
export const botSchema = resourceSchema('bot', ['v1'], specSchema).extend({ status: statusSchema.optional() })
export type Bot = z.infer<typeof botSchema>

const PREFIX = 'bot-'

/** What a bot is called where people and bots stand side by side: in certificates, locks and the audit log. */
export function botUserName(bot: string): string {
  return PREFIX + bot
}

/** The bot that an identity of kind bot is of. */
export function botNameOf(userName: string): string {
  return userName.startsWith(PREFIX) ? userName.slice(PREFIX.length) : userName
}

/** The traits of a bot as those of a user are written: a name that stands twice has all its values. */
export function botTraits({ spec }: Bot): Traits {
  const traits = new Map<string, string[]>()
  for (const { name, values } of spec.traits) traits.set(name, [...(traits.get(name) ?? []), ...values])
  return Object.fromEntries(traits)
}

import { z } from 'zod'
import { resourceSchema } from './envelope.ts'

/** How many of its latest certificates an instance remembers. */
export const MAX_AUTHENTICATIONS = 10

const authentication = z.strictObject({
  authenticated_at: z.string(),
  join_method: z.string(),
  join_token: z.string().optional(),
  remote_addr: z.string(),
  hostname: z.string().optional(),
  serial: z.string(),
  generation: z.int().optional(),
  /** What its identity provider says of the machine: the plain claims, the first join's alone. */
  attributes: z.record(z.string(), z.unknown()).optional(),
})
export type Authentication = z.infer<typeof authentication>

const specSchema = z.strictObject({
  bot_name: z.string(),
  instance_id: z.string(),
  /** The instance that the same key joined as before. */
  previous_instance_id: z.string().optional(),
})

const statusSchema = z.strictObject({
  join_method: z.string(),
  /** The token's name, or what stands for it where the name is a secret. */
  join_token: z.string(),
  /** Whether its certificate can be renewed; else it joins again. */
  renewable: z.boolean(),
  /** Of its current certificate; grows by one with each renewal. */
  generation: z.int().min(1),
  /** Of its current certificate, and of the one that was renewed into it. */
  serial: z.string(),
  previous_serial: z.string().optional(),
  /** Whether the current certificate was seen: until then the renewal may be asked for again, for its answer may have been lost. */
  used: z.boolean(),
  certificate_expires: z.string(),
  initial_authentication: authentication,
  /** Newest last. */
  latest_authentications: z.array(authentication).max(MAX_AUTHENTICATIONS),
})

/** One place where a bot runs: made when it joins, gone some time after its last certificate. */
export const botInstanceSchema = resourceSchema('bot_instance', ['v1'], specSchema).extend({ status: statusSchema })
export type BotInstance = z.infer<typeof botInstanceSchema>

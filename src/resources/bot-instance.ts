import { z } from 'zod'
import { resourceSchema } from './envelope.ts'

/** How many of its latest certificates, and of its latest heartbeats, an instance remembers. */
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

/** What a bot said of itself. */
const heartbeat = z.strictObject({
  recorded_at: z.string(),
  /** The first since its process started. */
  is_startup: z.boolean(),
  version: z.string(),
  hostname: z.string(),
  /** Of its process. */
  uptime_seconds: z.int(),
  join_method: z.string(),
  one_shot: z.boolean(),
  os: z.string(),
  architecture: z.string(),
  remote_addr: z.string(),
})
export type Heartbeat = z.infer<typeof heartbeat>

/** A destination that the bot refused to write to, since somebody else could have turned it. */
const refusedDestination = z.strictObject({ reported_at: z.string(), service: z.string(), destination: z.string(), reason: z.string() })

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
  initial_heartbeat: heartbeat.optional(),
  /** Newest last. */
  latest_heartbeats: z.array(heartbeat).max(MAX_AUTHENTICATIONS).optional(),
  refused_destination: refusedDestination.optional(),
})

/** One place where a bot runs: made when it joins, gone some time after its last certificate. */
export const botInstanceSchema = resourceSchema('bot_instance', ['v1'], specSchema).extend({ status: statusSchema })
export type BotInstance = z.infer<typeof botInstanceSchema>

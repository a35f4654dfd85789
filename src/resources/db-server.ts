import { z } from 'zod'
import { dbSchema } from './db.ts'
import { resourceSchema } from './envelope.ts'

const specSchema = z.strictObject({
  version: z.string(),
  hostname: z.string(),
  host_id: z.string(),
  database: dbSchema,
})

/** One database as one agent offers it; kept alive by the agent's heartbeat, gone when it expires. */
export const dbServerSchema = resourceSchema('db_server', ['v3'], specSchema)

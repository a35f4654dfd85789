import { z } from 'zod'
import { appSchema } from './app.ts'
import { resourceSchema, timestampSchema } from './envelope.ts'

export const MAX_STDERR_LINES = 20
export const MAX_STDERR_CHARS = 4096

/** From good to bad. */
const STATES = ['healthy', 'unknown', 'degraded', 'failing'] as const

const healthSchema = z.strictObject({
  state: z
    .enum(STATES)
    .describe(
      '`healthy`: it answered when it was last asked. `unknown`: nobody has asked yet. `degraded`: it failed, but has not before. `failing`: again and again, or from the start.',
    ),
  since: timestampSchema.describe('When it came to be so.'),
  reason: z.string().max(1024).optional().describe('What went wrong last.'),
  failures: z.int().min(0).describe('In a row.'),
  restarts: z.int().min(0).describe('How often a process ended unasked since the agent serves it.'),
  stderr: z
    .array(z.string().max(MAX_STDERR_CHARS))
    .max(MAX_STDERR_LINES)
    .optional()
    .describe('The last lines it wrote to standard error, oldest first, without secrets; of one that is not healthy.'),
})
export type Health = z.infer<typeof healthSchema>

const specSchema = z.strictObject({
  version: z.string(),
  hostname: z.string(),
  host_id: z.string(),
  app: appSchema,
  health: healthSchema.optional().describe('How the server does, as the agent knows from its sessions and its own checks.'),
})

/** One MCP server as one agent offers it; kept alive by the agent's heartbeat, gone when it expires. */
export const appServerSchema = resourceSchema('app_server', ['v3'], specSchema)

/** The better of what two agents say of one server: sessions may go to either. */
export function betterHealth(a: Health | undefined, b: Health | undefined): Health | undefined {
  if (!a || !b) return a ?? b
  return STATES.indexOf(a.state) <= STATES.indexOf(b.state) ? a : b
}

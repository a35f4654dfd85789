import { z } from 'zod'
import { appSchema } from './app.ts'
import { resourceSchema } from './envelope.ts'

const specSchema = z.strictObject({
  version: z.string(),
  hostname: z.string(),
  host_id: z.string(),
  app: appSchema,
})

/** One MCP server as one agent offers it; kept alive by the agent's heartbeat, gone when it expires. */
export const appServerSchema = resourceSchema('app_server', ['v3'], specSchema)

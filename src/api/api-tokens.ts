import { z } from 'zod'
import { route } from './route.ts'

const apiToken = z.object({
  id: z.string(),
  user: z.string(),
  name: z.string(),
  servers: z.array(z.string()).nullable(),
  roles: z.array(z.string()).nullable(),
  created: z.string(),
  created_by: z.string(),
  expires: z.string(),
  last_used: z.string().nullable(),
})
export type ApiToken = z.infer<typeof apiToken>

/** Users manage their own tokens; another user's need the verb on the kind `api_token`. */
export const createApiToken = route({
  name: 'createApiToken',
  method: 'POST',
  path: '/v1/api-tokens',
  access: 'authenticated',
  summary: 'Makes an API token; the secret is in this answer and nowhere else.',
  input: z.strictObject({
    user: z.string().max(255).optional(),
    name: z.string().max(100).optional(),
    ttl: z
      .int()
      .min(60, 'must be at least 60 seconds')
      .max(366 * 86_400, 'must be at most 366 days')
      .optional()
      .describe('seconds, 30 days unless told'),
    /** Only these MCP servers; absent: all the user may use. */
    servers: z.array(z.string()).min(1).optional(),
    /** Only these of the user's roles; absent: all. */
    roles: z.array(z.string()).min(1).optional(),
  }),
  output: z.object({ token: z.string(), item: apiToken }),
})

export const listApiTokens = route({
  name: 'listApiTokens',
  method: 'GET',
  path: '/v1/api-tokens',
  access: 'authenticated',
  summary: "The caller's tokens, or of another user, or of all (`user=*`).",
  input: z.strictObject({ user: z.string().max(255).optional() }),
  output: z.object({ items: z.array(apiToken) }),
})

export const deleteApiToken = route({
  name: 'deleteApiToken',
  method: 'DELETE',
  path: '/v1/api-tokens/:id',
  access: 'authenticated',
  summary: 'Revokes a token; its live MCP sessions end.',
  input: z.strictObject({ id: z.string().max(64) }),
  output: z.object({}),
})

import { z } from 'zod'
import { route } from './route.ts'

const oauthGrant = z.object({
  id: z.string(),
  user: z.string(),
  client_id: z.string(),
  client_name: z.string().nullable(),
  /** URLs of the MCP endpoints that it opens. */
  resources: z.array(z.string()),
  scope: z.string(),
  created: z.string(),
  expires: z.string(),
})
export type OAuthGrant = z.infer<typeof oauthGrant>

/** Users see and end what they allowed themselves; another user's needs the verb on the kind `oauth_grant`. */
export const listOAuthGrants = route({
  name: 'listOAuthGrants',
  method: 'GET',
  path: '/v1/oauth/grants',
  access: 'authenticated',
  summary: 'What the caller allowed MCP clients, or another user, or all (`user=*`).',
  input: z.strictObject({ user: z.string().max(255).optional() }),
  output: z.object({ items: z.array(oauthGrant) }),
})

export const deleteOAuthGrant = route({
  name: 'deleteOAuthGrant',
  method: 'DELETE',
  path: '/v1/oauth/grants/:id',
  access: 'authenticated',
  summary: 'Ends what a user allowed a client: its tokens and live MCP sessions end.',
  input: z.strictObject({ id: z.string().max(64) }),
  output: z.object({}),
})

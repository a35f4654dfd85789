import { z } from 'zod'
import { route } from './route.ts'

const upstreamAccount = z.object({
  id: z.string(),
  user: z.string(),
  /** Name of the MCP server. */
  server: z.string(),
  issuer: z.string(),
  resource: z.string(),
  scope: z.string(),
  created: z.string(),
})
export type UpstreamAccount = z.infer<typeof upstreamAccount>

/** For agents. */
export const issueUpstreamToken = route({
  name: 'issueUpstreamToken',
  method: 'POST',
  path: '/v1/upstream-tokens',
  access: { kind: 'upstream_token', verb: 'create' },
  summary: "Exchanges a caller's route assertion for the access token of that caller's own account at the MCP server behind the agent.",
  input: z.strictObject({
    server: z.string().max(255),
    uri: z.string().max(2000).describe('where the agent would send the token'),
    assertion: z.string().max(65_536).describe('what the agent was given with the call'),
    refused: z.string().max(16_384).optional().describe('a token that the MCP server did not take'),
  }),
  output: z.object({ id: z.string(), token: z.string(), expires: z.string() }),
})

/** Users see and end their own; another user's needs the verb on the kind `upstream_account`. */
export const listUpstreamAccounts = route({
  name: 'listUpstreamAccounts',
  method: 'GET',
  path: '/v1/upstream-accounts',
  access: 'authenticated',
  summary: 'At which MCP servers the caller has an account, or another user, or all (`user=*`). Tokens are never shown.',
  input: z.strictObject({ user: z.string().max(255).optional() }),
  output: z.object({
    items: z.array(upstreamAccount),
    page: z.string().describe('where a person signs in, before the name of the server'),
  }),
})

export const deleteUpstreamAccount = route({
  name: 'deleteUpstreamAccount',
  method: 'DELETE',
  path: '/v1/upstream-accounts/:id',
  access: 'authenticated',
  summary: "Forgets a user's account at an MCP server with its tokens.",
  input: z.strictObject({ id: z.string().max(64) }),
  output: z.object({}),
})

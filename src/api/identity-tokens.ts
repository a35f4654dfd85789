import { z } from 'zod'
import { route } from './route.ts'

/** For agents: what an MCP server is told of a caller, in a form it can verify. */
export const issueIdentityToken = route({
  name: 'issueIdentityToken',
  method: 'POST',
  path: '/v1/identity-tokens',
  access: { kind: 'identity_token', verb: 'create' },
  summary: "Exchanges a caller's route assertion for a JWT about that caller to the MCP server behind the agent.",
  input: z.strictObject({
    server: z.string().max(255),
    assertion: z.string().max(65_536).describe('what the agent was given with the call'),
    type: z.enum(['jwt', 'id_token']).describe('`jwt`: issuer is the cluster; `id_token`: issuer is the public URL (OpenID Connect)'),
  }),
  output: z.object({ token: z.string(), expires: z.string() }),
})

export const rotateJwtKey = route({
  name: 'rotateJwtKey',
  method: 'POST',
  path: '/v1/jwt-keys',
  access: { kind: 'cert_authority', verb: 'rotate' },
  summary: 'Makes a new key for the JWTs that MCP servers are sent; it is published at once and signs some minutes later.',
  input: z.strictObject({}),
  output: z.object({ kid: z.string(), signs_from: z.string() }),
})

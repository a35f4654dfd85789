import { isAbsolute } from 'node:path'
import { z } from 'zod'
import { findMcpEndpoint } from '../../resources/mcp-endpoint.ts'
import { destinationSchema } from './destination.ts'
import { spanFields } from './durations.ts'

const nameSchema = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/, 'must be letters, digits, ".", "_" and "-", at most 64')
  .describe('What /readyz, metrics and the log call it.')
const rolesSchema = z.array(z.string().min(1)).max(100).optional().describe("Some of the bot's roles; without, all of them.")

const identitySchema = z
  .strictObject({
    type: z.literal('identity'),
    name: nameSchema.optional(),
    destination: destinationSchema,
    allow_reissue: z.boolean().default(false).describe('Whether the identity may get further certificates.'),
    roles: rolesSchema,
    ...spanFields,
    ssh_config: z.enum(['on', 'off']).optional().describe('Accepted, without effect: there is no SSH here.'),
    cluster: z.string().optional().describe('Accepted, without effect: there is one cluster behind a proxy.'),
  })
  .describe('Writes an identity file for `tsh -i`, and its parts, and keeps them fresh.')

const LISTEN = /^(?:unix:\/\/(\/.+)|tcp:\/\/(127\.0\.0\.1|localhost|\[::1\]):(\d{1,5}))$/

const mcpSchema = z
  .strictObject({
    type: z.literal('mcp'),
    name: nameSchema.optional(),
    listen: z
      .string()
      .regex(LISTEN, 'must be unix:///PATH or tcp://127.0.0.1:PORT')
      .refine((text) => Number(text.match(LISTEN)?.[3] ?? 0) <= 65_535, 'has no such port')
      .describe('Where MCP clients of this machine reach the servers: a socket of our own account, or a port of loopback.'),
    destination: destinationSchema.optional().describe('Where the token is written that clients of a tcp:// address send.'),
    roles: rolesSchema,
    ...spanFields,
  })
  .refine(({ listen, destination }) => listen.startsWith('unix:') || (destination && destination.type !== 'memory'), {
    path: ['destination'],
    error: 'required with a tcp:// address: the token that its clients must send is written there',
  })
  .describe('A local MCP endpoint that carries fresh credentials.')

const oauthTokenSchema = z
  .strictObject({
    type: z.literal('oauth-token'),
    name: nameSchema.optional(),
    destination: destinationSchema.describe('Where the file `token` is written.'),
    client_id: z
      .string()
      .min(1)
      .max(255)
      .optional()
      .describe(
        'An oauth_client that acts as the bot; its jwks has what `tbot keypair create --format=jwk` prints. Without, the token is of this instance of the bot.',
      ),
    audience: z
      .url({ protocol: /^https?$/ })
      .refine(
        (url) => findMcpEndpoint(new URL(url).pathname) !== undefined,
        'must be the URL of an MCP endpoint, such as https://HOST/mcp/apps/NAME',
      )
      .describe('The URL that the token is for: of an MCP server, of a set, or of all servers (`https://HOST/mcp`).'),
    scope: z
      .string()
      .min(1)
      .max(1024)
      .optional()
      .describe('With client_id: `mcp` for all that the roles allow there, which it is unless told, `mcp:server:NAME` for less.'),
    roles: rolesSchema,
    ...spanFields,
  })
  .superRefine(({ client_id, scope, roles }, context) => {
    const fault = (key: string, message: string): void => context.addIssue({ code: 'custom', path: [key], message })
    if (client_id === undefined && scope !== undefined)
      fault('scope', 'is for tokens of an oauth_client: name it with client_id, or use roles')
    if (client_id !== undefined && roles) fault('roles', 'is for tokens without client_id: use scope')
  })
  .describe('Keeps an access token fresh, for clients that speak HTTP.')

const selectorSchema = z
  .strictObject({
    name: z.string().min(1).max(255).optional(),
    labels: z.record(z.string().min(1), z.union([z.string(), z.array(z.string()).min(1)])).optional(),
  })
  .refine(({ name, labels }) => (name === undefined) !== (labels === undefined), { error: 'names either a name or labels' })
  .describe('Which workload_identity: by its name, or the one with these labels that the bot may have.')

const x509SvidSchema = z
  .strictObject({
    type: z.literal('workload-identity-x509'),
    name: nameSchema.optional(),
    selector: selectorSchema,
    destination: destinationSchema.describe('Where `svid.pem`, `svid_key.pem` and `svid_bundle.pem` are written.'),
    roles: rolesSchema,
    ...spanFields,
    include_federated_trust_bundles: z.literal(false).optional().describe('Accepted when false: there are no federated trust domains.'),
  })
  .describe('Keeps an X.509 SVID (SPIFFE) fresh, for mutual TLS between workloads.')

const jwtSvidSchema = z
  .strictObject({
    type: z.literal('workload-identity-jwt'),
    name: nameSchema.optional(),
    selector: selectorSchema,
    audiences: z.array(z.string().min(1).max(1024)).min(1, 'needs an audience').max(20).describe('For whom the JWT is.'),
    destination: destinationSchema.describe('Where the file `jwt_svid` is written.'),
    roles: rolesSchema,
    ...spanFields,
  })
  .describe('Keeps a JWT SVID (SPIFFE) fresh, for services that verify JWTs.')

export const serviceSchema = z.discriminatedUnion('type', [identitySchema, mcpSchema, oauthTokenSchema, x509SvidSchema, jwtSvidSchema])

export type ServiceConfig = z.output<typeof serviceSchema>
export type IdentityConfig = z.output<typeof identitySchema>
export type McpConfig = z.output<typeof mcpSchema>
export type OauthTokenConfig = z.output<typeof oauthTokenSchema>

export type X509SvidConfig = z.output<typeof x509SvidSchema>
export type JwtSvidConfig = z.output<typeof jwtSvidSchema>

export type ListenAddress = { path: string } | { host: string; port: number }

/** What `listen` says, which the schema has judged. */
export function parseListen(text: string): ListenAddress {
  const [, path, host = '127.0.0.1', port] = text.match(LISTEN) ?? []
  return path !== undefined && isAbsolute(path) ? { path } : { host: host.replace(/^\[|\]$/g, ''), port: Number(port) }
}

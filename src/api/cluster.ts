import { z } from 'zod'
import { route } from './route.ts'

const authoritySchema = z.object({
  type: z.enum(['user', 'host', 'db', 'db_client', 'spiffe']),
  certificate: z.string(),
  pin: z.string(),
  not_after: z.string(),
})

/** What a client needs to know before it signs in. The path and `server_version` are the ones Teleport's tools ask for. */
export const ping = route({
  name: 'ping',
  method: 'GET',
  path: '/v1/webapi/find',
  access: 'public',
  summary: 'Versions, cluster name and how to sign in.',
  input: z.strictObject({}),
  output: z.object({
    server_version: z.string(),
    min_client_version: z.string(),
    cluster_name: z.string(),
    auth: z.object({
      type: z.string(),
      second_factor: z.string(),
      second_factors: z.array(z.string()).optional().describe('what counts as one: otp, webauthn, sso'),
      allow_passwordless: z.boolean().optional().describe('whether a passkey alone signs in'),
      webauthn: z.object({ rp_id: z.string().describe('the domain that passkeys are for') }).optional(),
      allow_local_auth: z.boolean().optional().describe('whether anybody may sign in with a password or passkey'),
      default_connector: z.string().optional().describe('how people sign in unless they choose: a connector, or passwordless'),
      connectors: z
        .array(z.object({ name: z.string(), type: z.string(), display: z.string() }))
        .optional()
        .describe('by which people may sign in elsewhere'),
    }),
    /** CA certificates of the cluster's hosts (PEM); what a client pins. */
    host_authorities: z.array(z.string()),
    ca_pins: z.array(z.string()),
  }),
})

export const getStatus = route({
  name: 'getStatus',
  method: 'GET',
  path: '/v1/status',
  access: 'authenticated',
  summary: 'Cluster name, version and certificate authorities.',
  input: z.strictObject({}),
  output: z.object({
    cluster_name: z.string(),
    version: z.string(),
    proxy_address: z.string().describe('HOST:PORT, as people and machines reach the proxy'),
    authorities: z.array(authoritySchema),
    ca_pins: z.array(z.string()),
  }),
})

export const getJwks = route({
  name: 'getJwks',
  method: 'GET',
  path: '/.well-known/jwks.json',
  access: 'public',
  summary: 'Keys that verify assertions of this cluster (RFC 7517).',
  input: z.strictObject({}),
  output: z.object({ keys: z.array(z.record(z.string(), z.unknown())) }),
})

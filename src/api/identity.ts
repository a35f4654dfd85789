import { z } from 'zod'
import { route } from './route.ts'

const publicKey = z.string().max(4096).describe('SPKI PEM, EC P-256 or Ed25519')
const possession = z.string().max(512).describe('signature over the request by the private key, base64url; see ca/keys.ts')
const ttl = z
  .int()
  .min(60, 'must be at least 60 seconds')
  .max(30 * 86_400, 'must be at most 30 days')
  .optional()
  .describe('seconds wanted; roles and cluster may shorten it')

/** What a sign-in yields: a client certificate and the authorities to trust. */
export const issuedIdentity = z.object({
  certificate: z.string(),
  user_authorities: z.array(z.string()),
  host_authorities: z.array(z.string()),
  cluster_name: z.string(),
  user: z.string(),
  roles: z.array(z.string()),
  expires: z.string(),
})
export type IssuedIdentity = z.infer<typeof issuedIdentity>

export const loginLocal = route({
  name: 'loginLocal',
  method: 'POST',
  path: '/v1/login/local',
  access: 'public',
  summary: 'Password (and one-time code) for a short-lived certificate.',
  input: z.strictObject({
    user: z.string().max(255),
    password: z.string().max(256),
    totp: z.string().max(16).optional(),
    public_key: publicKey,
    possession,
    ttl,
  }),
  output: issuedIdentity,
})

/** Browser sign-in, RFC 8252 in spirit: the key stays with the client; the browser ends at its loopback port with a one-time code. */
export const startBrowserLogin = route({
  name: 'startBrowserLogin',
  method: 'POST',
  path: '/v1/login/browser',
  access: 'public',
  summary: 'Begins a sign-in in the browser.',
  input: z.strictObject({
    public_key: publicKey,
    possession,
    ttl,
    user: z.string().max(255).optional(),
    connector: z.string().max(255).optional().describe('the page goes straight to the identity provider of this connector'),
    /** `http://127.0.0.1:PORT/callback`; only loopback is accepted. */
    redirect_uri: z.string().max(200),
    /** S256 of a verifier only the client knows, base64url (RFC 7636). */
    code_challenge: z.string().length(43),
  }),
  output: z.object({ login_id: z.string(), path: z.string().describe('page to open, relative to the proxy') }),
})

export const finishBrowserLogin = route({
  name: 'finishBrowserLogin',
  method: 'POST',
  path: '/v1/login/browser/finish',
  access: 'public',
  summary: 'Exchanges the code the browser brought for the certificate.',
  input: z.strictObject({ login_id: z.string().max(100), code: z.string().max(200), code_verifier: z.string().min(43).max(128) }),
  output: issuedIdentity,
})

export const signCertificate = route({
  name: 'signCertificate',
  method: 'POST',
  path: '/v1/certificates',
  access: { kind: 'identity', verb: 'create' },
  summary: 'Issues an identity for a user (`tctl auth sign`).',
  input: z.strictObject({ user: z.string().max(255), public_key: publicKey, possession, ttl }),
  output: issuedIdentity,
})

export const whoami = route({
  name: 'whoami',
  method: 'GET',
  path: '/v1/whoami',
  access: 'authenticated',
  forMcpClients: true,
  summary: 'The caller as the Auth Service sees it.',
  input: z.strictObject({}),
  output: z.object({
    kind: z.string(),
    name: z.string(),
    roles: z.array(z.string()),
    traits: z.record(z.string(), z.array(z.string())),
    credential: z.enum(['certificate', 'api_token', 'oauth', 'jwt', 'local']).describe('how the caller proved who it is'),
    credential_id: z.string().describe('serial of the certificate, id of the API token or of the grant'),
    expires: z.string(),
    token_expires: z.string().optional().describe('of a token that is renewed without signing in again: when this one ends'),
    scope: z.string().optional().describe('of an OAuth token: what it is narrowed to'),
    holder: z.string().optional().describe('the same for all credentials of which each replaces the one before'),
    cluster_name: z.string(),
  }),
})

/** DESIGN §1: a token that is worth something at one server only, for at most five minutes. */
export const issueRouteAssertion = route({
  name: 'issueRouteAssertion',
  method: 'POST',
  path: '/v1/assertions',
  access: 'authenticated',
  forMcpClients: true,
  summary: "Exchanges the caller's own credential for a route assertion to one MCP server.",
  input: z.strictObject({ server: z.string().max(255) }),
  output: z.object({ assertion: z.string(), expires: z.string() }),
})

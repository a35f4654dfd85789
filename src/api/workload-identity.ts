import { z } from 'zod'
import { route } from './route.ts'

/** Which workload identity is wanted: by name, or the one with these labels that the caller may have. */
const selector = z
  .strictObject({
    name: z.string().min(1).max(255).optional(),
    labels: z.record(z.string().min(1), z.union([z.string(), z.array(z.string()).min(1)])).optional(),
  })
  .refine(({ name, labels }) => (name === undefined) !== (labels === undefined), 'names either a name or labels')

const credential = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('x509'),
    public_key: z.string().max(4096).describe('SPKI PEM, EC P-256 or Ed25519'),
    possession: z.string().max(512).describe('signature over the request by the private key, base64url; see api/possession.ts'),
  }),
  z.strictObject({ type: z.literal('jwt'), audiences: z.array(z.string().min(1).max(1024)).min(1, 'needs an audience').max(20) }),
])

/** An SVID: the proof that a workload has a SPIFFE ID. */
export const issueSvid = route({
  name: 'issueSvid',
  method: 'POST',
  path: '/v1/workload-identities/svid',
  access: 'authenticated',
  summary: 'An SVID (SPIFFE) for a workload: a certificate, or a JWT. For users and bots that call with a certificate.',
  input: z.strictObject({
    selector,
    credential,
    roles: z.array(z.string()).min(1).max(100).optional().describe("some of the bot's roles; without, all of them"),
    ttl: z.int().min(60, 'must be at least 60 seconds').max(86_400, 'must be at most a day').optional().describe('seconds wanted'),
  }),
  output: z.object({
    name: z.string(),
    spiffe_id: z.string(),
    hint: z.string().optional(),
    svid: z.string().describe('PEM, or the JWT'),
    bundle: z.array(z.string()).describe('certificates (PEM) that verify X.509 SVIDs of this trust domain'),
    expires: z.string(),
  }),
})

export const getSpiffeBundle = route({
  name: 'getSpiffeBundle',
  method: 'GET',
  path: '/webapi/spiffe/bundle.json',
  access: 'public',
  summary: 'What verifies the SVIDs of this cluster (SPIFFE Trust Domain and Bundle, section 4).',
  input: z.strictObject({}),
  output: z.object({ keys: z.array(z.record(z.string(), z.unknown())), spiffe_refresh_hint: z.number() }),
})

export const getSvidJwks = route({
  name: 'getSvidJwks',
  method: 'GET',
  path: '/workload-identity/jwt-jwks.json',
  access: 'public',
  summary: 'Keys that verify JWT SVIDs (RFC 7517).',
  input: z.strictObject({}),
  output: z.object({ keys: z.array(z.record(z.string(), z.unknown())) }),
})

export const getSvidIssuer = route({
  name: 'getSvidIssuer',
  method: 'GET',
  path: '/workload-identity/.well-known/openid-configuration',
  access: 'public',
  summary: 'The issuer of JWT SVIDs, for services that trust OpenID Connect (Discovery 1.0, section 4).',
  input: z.strictObject({}),
  output: z.looseObject({ issuer: z.string(), jwks_uri: z.string() }),
})

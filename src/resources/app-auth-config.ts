import { z } from 'zod'
import { resourceSchema } from './envelope.ts'
import { selectorSchema } from './role.ts'

/** Headers with a meaning of their own: no token is looked for there. */
const TAKEN =
  /^(?:host|origin|cookie|content-.*|accept.*|connection|transfer-encoding|te|trailer|upgrade|last-event-id|mcp-.*|sec-.*|sallyport-.*)$/

const jwtSchema = z
  .strictObject({
    /** What `iss` has to be. */
    issuer: z.string().min(1).max(2000),
    /** What `aud` has to be, or contain. */
    audience: z.string().min(1).max(2000),
    /** The claim that names a user of the cluster; where it begins with a slash, a JSON pointer (RFC 6901). */
    username_claim: z.string().min(1).max(200).default('email'),
    /** The header that carries the token, with or without `Bearer`. */
    authorization_header: z
      .string()
      .max(100)
      .regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, 'must be an HTTP header name (RFC 9110)')
      .refine((name) => !TAKEN.test(name.toLowerCase()), 'is a header that means something else')
      .default('Authorization'),
    /** Where the issuer publishes its keys (RFC 7517). */
    jwks_url: z.string().max(2000).optional(),
    /** The keys themselves, as JSON. */
    static_jwks: z.string().max(65_536).optional(),
  })
  .refine((jwt) => (jwt.jwks_url === undefined) !== (jwt.static_jwks === undefined), {
    path: ['jwks_url'],
    error: 'one of jwks_url and static_jwks is needed',
  })

const specSchema = z.strictObject({
  /** The MCP servers for which it is. */
  app_labels: selectorSchema.refine((labels) => Object.keys(labels).length > 0, "must select something; {'*': '*'} is all"),
  jwt: jwtSchema,
})

/** Lets JWTs of another issuer reach the MCP servers it selects, as users that exist. */
export const appAuthConfigSchema = resourceSchema('app_auth_config', ['v1'], specSchema).refine(({ sub_kind }) => sub_kind === 'jwt', {
  path: ['sub_kind'],
  error: 'must be jwt',
})
export type AppAuthConfig = z.infer<typeof appAuthConfigSchema>

import { z } from 'zod'
import { resourceSchema } from './envelope.ts'

/** RFC 7523 section 2.1. */
export const JWT_BEARER_GRANT = 'urn:ietf:params:oauth:grant-type:jwt-bearer'

const GRANT_TYPES = [
  'authorization_code',
  'refresh_token',
  'client_credentials',
  'urn:ietf:params:oauth:grant-type:device_code',
  'urn:ietf:params:oauth:grant-type:token-exchange',
  JWT_BEARER_GRANT,
] as const

const AUTH_METHODS = ['none', 'private_key_jwt', 'client_secret_basic', 'client_secret_post'] as const
const SECRET_METHODS: readonly string[] = ['client_secret_basic', 'client_secret_post']

const specSchema = z
  .strictObject({
    /** As people see it; the client's id unless told. */
    client_name: z.string().min(1).max(200).optional(),
    /** Exactly these, but any port on loopback (RFC 8252 section 7.3). */
    redirect_uris: z.array(z.string().max(2000)).max(20).default([]),
    grant_types: z.array(z.enum(GRANT_TYPES)).min(1).default(['authorization_code', 'refresh_token']),
    token_endpoint_auth_method: z.enum(AUTH_METHODS).default('none'),
    client_secret: z
      .string()
      // Not all clients encode it as RFC 6749 section 2.3.1 says: these are the same either way.
      .regex(/^[\w.~-]{16,1024}$/, 'must be 16 to 1024 letters, digits and . _ ~ -')
      .optional()
      .describe(
        'for client_secret_basic and client_secret_post; kept sealed and never shown without --with-secrets; an update without it keeps the one there is',
      ),
    /** Public keys of the client, for `private_key_jwt` (RFC 7517). */
    jwks: z.object({ keys: z.array(z.record(z.string(), z.unknown())).min(1).max(20) }).optional(),
    /** The bot whose roles and traits it bears with `client_credentials`. */
    bot: z.string().optional(),
    /** Whether it may ask about tokens of others (RFC 7662): for services, with `private_key_jwt`. */
    may_introspect: z.boolean().optional(),
    jwks_uri: z.url({ protocol: /^https$/ }).optional(),
  })
  .superRefine((spec, context) => {
    if (spec.grant_types.includes('authorization_code') && spec.redirect_uris.length === 0)
      context.addIssue({ code: 'custom', path: ['redirect_uris'], message: 'at least one is needed with authorization_code' })
    if (spec.token_endpoint_auth_method === 'private_key_jwt' && (spec.jwks === undefined) === (spec.jwks_uri === undefined))
      context.addIssue({ code: 'custom', path: ['jwks'], message: 'private_key_jwt needs one of jwks and jwks_uri' })
    const actsAsBot = spec.grant_types.includes('client_credentials')
    if (actsAsBot !== (spec.bot !== undefined))
      context.addIssue({ code: 'custom', path: ['bot'], message: 'goes with client_credentials, which needs it' })
    if (spec.grant_types.includes(JWT_BEARER_GRANT) && spec.token_endpoint_auth_method === 'none')
      context.addIssue({ code: 'custom', path: ['token_endpoint_auth_method'], message: `none is not enough for ${JWT_BEARER_GRANT}` })
    if (spec.client_secret !== undefined && !usesSecret(spec))
      context.addIssue({ code: 'custom', path: ['client_secret'], message: 'goes with client_secret_basic and client_secret_post' })
    if ((actsAsBot || spec.may_introspect) && spec.token_endpoint_auth_method !== 'private_key_jwt')
      context.addIssue({ code: 'custom', path: ['token_endpoint_auth_method'], message: 'must be private_key_jwt for this' })
    if (spec.jwks?.keys.some((key) => 'd' in key || 'k' in key))
      context.addIssue({ code: 'custom', path: ['jwks'], message: 'only public keys belong here' })
    for (const [index, key] of (spec.jwks?.keys ?? []).entries())
      if (!isKey(key))
        context.addIssue({
          code: 'custom',
          path: ['jwks', 'keys', index],
          message: 'is no key: EC has crv, x and y, RSA has n and e, OKP has crv and x, in base64url',
        })
  })

/** An OAuth client that an administrator vouches for; the name is its `client_id`. */
export const oauthClientSchema = resourceSchema('oauth_client', ['v1'], specSchema)
export type OAuthClient = z.infer<typeof oauthClientSchema>

/** Whether a client proves who it is by a secret that both sides know. */
export function usesSecret({ token_endpoint_auth_method }: { token_endpoint_auth_method: string }): boolean {
  return SECRET_METHODS.includes(token_endpoint_auth_method)
}

/** What a public key has to have, by its type (RFC 7518 section 6, RFC 8037 section 2). */
const MEMBERS = new Map<unknown, readonly string[]>([
  ['EC', ['x', 'y']],
  ['RSA', ['n', 'e']],
  ['OKP', ['x']],
])

function isKey(key: Readonly<Record<string, unknown>>): boolean {
  const members = MEMBERS.get(key['kty'])
  const isWhole = members?.every((member) => typeof key[member] === 'string' && /^[\w-]+$/.test(key[member])) ?? false
  return isWhole && (key['kty'] === 'RSA' || typeof key['crv'] === 'string')
}

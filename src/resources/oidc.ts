import { z } from 'zod'
import { findDuration } from '../lib/duration.ts'
import { connectorFields, mappedRoles, providerUrl, redirectUrls } from './connector.ts'
import { resourceSchema } from './envelope.ts'

const claimMapping = z.strictObject({
  claim: z.string().min(1).max(255),
  /** A literal, a glob, or a regular expression from `^` to `$`. */
  value: z.string().max(1024).describe('a text, a glob such as team-*, or ^a regular expression$'),
  roles: mappedRoles.describe('$1, $2 … stand for what the stars or groups of the value found'),
})
export type ClaimMapping = z.infer<typeof claimMapping>

const word = z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,255}$/, 'must be a word without quotes')

const specSchema = z.strictObject({
  issuer_url: providerUrl.describe('as the identity provider spells it in its tokens'),
  ...connectorFields,
  redirect_url: redirectUrls('oidc'),
  scope: z.array(word).max(50).default([]).describe('beside openid; openid, email and profile where none is told'),
  claims_to_roles: z.array(claimMapping).max(1000).default([]).describe('whoever gets no role by these is not let in'),
  username_claim: z.string().min(1).max(255).default('email'),
  allow_unverified_email: z
    .boolean()
    .default(false)
    .describe('take an email although the identity provider does not say that it checked it'),
  max_age: z
    .union([
      z.int().min(0).max(31_536_000),
      z.string().refine((text) => findDuration(text) !== undefined, 'must be a duration such as 12h'),
    ])
    .optional()
    .describe('a sign-in at the identity provider that is older is asked for again; seconds or a duration'),
  pkce_mode: z.enum(['enabled', 'disabled']).default('enabled'),
  prompt: z.string().max(100).optional().describe('`select_account`, `login`, `consent`, `none`, as the identity provider understands it'),
  acr_values: z.string().max(255).optional(),
  accept_id_jag: z
    .boolean()
    .optional()
    .describe('MCP clients may trade what this identity provider asserts of its people (ID-JAG) for tokens, without a page'),
  /** Of Teleport's; kept, without effect. */
  provider: z.string().max(100).optional(),
})

/** An identity provider that speaks OpenID Connect. */
export const oidcSchema = resourceSchema('oidc', ['v3', 'v2'], specSchema)
export type OidcConnector = z.infer<typeof oidcSchema>

import { z } from 'zod'
import { labelsSchema, resourceSchema, timestampSchema } from './envelope.ts'
import { selectorSchema } from './role.ts'

export const JOIN_ROLES = ['App', 'Bot', 'Proxy', 'Node', 'Db', 'Kube', 'Discovery'] as const

export const JOIN_METHODS = ['token', 'bound_keypair', 'oidc', 'kubernetes', 'github', 'gitlab'] as const
export type JoinMethod = (typeof JOIN_METHODS)[number]

const text = z.string().min(1).max(1024)

/** Claims of one rule, all of which have to match: a name, and a glob or several of which one has to fit. */
const claims = z
  .record(z.string().min(1), z.union([text, z.array(text).min(1), z.boolean(), z.number()]))
  .refine((rule) => Object.keys(rule).length > 0, 'a rule without claims would let everybody in')
export type ClaimRule = z.infer<typeof claims>

/** One rule has to hold; a list without any would let everybody in that the issuer vouches for. */
const allow = z.array(claims).min(1, 'needs at least one rule')
const audience = text.optional().describe('the `aud` that an ID token must carry; the name of the cluster unless told')
const staticJwks = z.string().max(65_536).optional().describe('the keys of the issuer as JWKS text, in place of those that it publishes')

const oidc = z.strictObject({
  issuer: z.string().max(1024),
  audience,
  jwks_url: z.string().max(1024).optional().describe('where its keys are, without asking its discovery document'),
  static_jwks: staticJwks,
  allow,
})
const kubernetes = z.strictObject({
  type: z.enum(['oidc', 'static_jwks']).default('oidc'),
  oidc: z.strictObject({ issuer: z.string().max(1024) }).optional(),
  static_jwks: z.strictObject({ jwks: z.string().max(65_536) }).optional(),
  audience,
  allow: z.array(z.strictObject({ service_account: text.describe('NAMESPACE:NAME, globs') })).min(1, 'needs at least one rule'),
})
const github = z.strictObject({
  enterprise_server_host: text.optional(),
  enterprise_slug: text.optional(),
  audience,
  static_jwks: staticJwks,
  allow,
})
const gitlab = z.strictObject({ domain: text.default('gitlab.com'), audience, static_jwks: staticJwks, allow })

const boundKeypair = z.strictObject({
  onboarding: z
    .strictObject({
      initial_public_key: z.string().max(4096).optional().describe('SPKI PEM, EC P-256 or Ed25519: no secret is needed then'),
      registration_secret: z.string().min(16).max(256).optional().describe('made by the Auth Service unless told; worth one registration'),
      must_register_before: timestampSchema.optional(),
    })
    .prefault({}),
  recovery: z
    .strictObject({
      limit: z.int().min(1).max(1_000_000).default(1).describe('how often it may join in all, the first time included'),
      mode: z.enum(['standard', 'relaxed', 'insecure']).default('standard'),
    })
    .prefault({}),
})

const specSchema = z
  .strictObject({
    roles: z.array(z.enum(JOIN_ROLES)).min(1),
    join_method: z.string().default('token'),
    /** Only with the role Bot. */
    bot_name: z.string().optional(),
    suggested_labels: z.record(z.string(), z.union([z.string(), z.array(z.string())])).optional(),
    suggested_agent_matcher_labels: labelsSchema.optional(),
    app_labels: selectorSchema
      .optional()
      .describe('ours: the MCP servers that hosts which join with it may serve, by their labels, in the form of a role; all unless told'),
    db_labels: selectorSchema.optional().describe('ours: the same for databases'),
    bound_keypair: boundKeypair.optional(),
    oidc: oidc.optional(),
    kubernetes: kubernetes.optional(),
    github: github.optional(),
    gitlab: gitlab.optional(),
  })
  .superRefine((spec, context) => {
    const fault = (path: string, message: string): void => context.addIssue({ code: 'custom', path: [path], message })
    if (spec.bot_name && !spec.roles.includes('Bot')) fault('bot_name', 'bot_name goes with the role Bot only')
    if (spec.app_labels && !spec.roles.includes('App')) fault('app_labels', 'goes with the role App only')
    if (spec.db_labels && !spec.roles.includes('Db')) fault('db_labels', 'goes with the role Db only')
    const method = JOIN_METHODS.find((known) => known === spec.join_method)
    if (!method) fault('join_method', `"${spec.join_method}" is not supported (use ${JOIN_METHODS.join(', ')})`)
    for (const other of JOIN_METHODS) {
      if (other === 'token') continue
      if (method !== other && spec[other] !== undefined) fault(other, `goes with join_method: ${other} only`)
      if (method === other && other !== 'bound_keypair' && spec[other] === undefined) fault(other, `join_method: ${other} needs it`)
    }
    if (method === 'bound_keypair' && spec.roles.length > 1) fault('roles', 'a bound key pair joins in one role')
    const { kubernetes: cluster } = spec
    if (cluster?.type === 'oidc' && !cluster.oidc) fault('kubernetes', 'type: oidc needs oidc.issuer')
    if (cluster?.type === 'static_jwks' && !cluster.static_jwks) fault('kubernetes', 'type: static_jwks needs static_jwks.jwks')
  })

/** What the Auth Service keeps beside a token. */
const statusSchema = z.strictObject({
  /** What stands for a secret token in certificates, events and locks. */
  safe_name: z.string().optional(),
  bound_keypair: z
    .strictObject({
      /** Worth one registration; empty afterwards. */
      registration_secret: z.string().optional(),
      /** SPKI PEM of the key that this token is bound to. */
      bound_public_key: z.string().optional(),
      bound_bot_instance_id: z.string().optional(),
      bound_host_id: z.string().optional(),
      recovery_count: z.int().min(0).default(0),
      last_recovered_at: z.string().optional(),
      /** Of the join state that was given out last, and of the one before. */
      state: z.string().optional(),
      previous_state: z.string().optional(),
    })
    .optional(),
})

/** A join token. With the method `token` its name is the secret. */
export const tokenSchema = resourceSchema('token', ['v2'], specSchema).extend({ status: statusSchema.optional() })
export type Token = z.infer<typeof tokenSchema>

/** Whether the name of the token is itself what lets in. */
export function hasSecretName({ spec }: Token): boolean {
  return spec.join_method === 'token'
}

import { z } from 'zod'
import { findDuration } from '../lib/duration.ts'
import { resourceSchema } from './envelope.ts'

const MAX_TTL_MS = 24 * 3_600_000

const text = z.string().min(1).max(1024)

/** A place of the attributes, such as `join.gitlab.project_path`. */
const attributePath = z
  .string()
  .max(256)
  .regex(/^(?:user|join)(?:\.[A-Za-z_][\w-]*)+$/, 'must be an attribute such as user.name or join.gitlab.project_path')

const value = z.strictObject({ value: z.string().max(1024) })
const values = z.strictObject({ values: z.array(z.string().max(1024)).min(1).max(100) })

const conditionSchema = z
  .strictObject({
    attribute: attributePath,
    eq: value.optional(),
    not_eq: value.optional(),
    in: values.optional(),
    not_in: values.optional(),
  })
  .refine(({ eq, not_eq, in: within, not_in }) => [eq, not_eq, within, not_in].filter(Boolean).length === 1, {
    error: 'needs one of eq, not_eq, in, not_in',
  })
export type AttributeCondition = z.infer<typeof conditionSchema>

const ruleSchema = z
  .strictObject({
    conditions: z.array(conditionSchema).min(1).max(50).optional().describe('All of which have to hold.'),
    expression: z.string().min(1).max(4096).optional().describe('Over `user` and `join`, in the language of `where`.'),
  })
  .refine(({ conditions, expression }) => (conditions === undefined) !== (expression === undefined), {
    error: 'needs either conditions or an expression',
  })
export type AttributeRule = z.infer<typeof ruleSchema>

const ttl = z
  .string()
  .refine((span) => {
    const ms = findDuration(span)
    return ms !== undefined && ms >= 60_000 && ms <= MAX_TTL_MS
  }, 'must be a duration from 1m to 24h')
  .optional()

const x509Schema = z.strictObject({
  dns_sans: z.array(text).max(50).optional().describe('DNS names in the certificate, templates too.'),
  subject_template: z
    .strictObject({ common_name: text.optional(), organization: text.optional(), organizational_unit: text.optional() })
    .optional()
    .describe('The subject of the certificate; CN is the name of the workload identity unless told.'),
  maximum_ttl: ttl,
})

/** What a JWT says of itself is not for a resource to say. */
const RESERVED_CLAIMS: ReadonlySet<string> = new Set(['sub', 'aud', 'exp', 'iat', 'nbf', 'iss', 'jti'])

const jwtSchema = z.strictObject({
  maximum_ttl: ttl,
  extra_claims: z
    .record(z.string().min(1).max(128), z.json())
    .refine((claims) => JSON.stringify(claims).length <= 8192, 'is longer than 8192 characters')
    .refine((claims) => Object.keys(claims).every((name) => !RESERVED_CLAIMS.has(name)), {
      error: `must not name ${[...RESERVED_CLAIMS].join(', ')}`,
    })
    .optional()
    .describe('Beside the claims of every JWT SVID; templates in texts.'),
})

const specSchema = z.strictObject({
  rules: z
    .strictObject({
      allow: z.array(ruleSchema).max(100).optional().describe('Of which one has to hold; without, whoever the roles let may have it.'),
      deny: z.array(ruleSchema).max(100).optional().describe('Of which none may hold.'),
    })
    .optional()
    .describe('Who may have it, beside the roles: by what is known of them and of how they joined.'),
  spiffe: z.strictObject({
    id: z
      .string()
      .max(1024)
      .regex(/^\//, 'must be a path, such as /svc/{{user.name}}')
      .describe('The path of the SPIFFE ID, with attributes in it: `/svc/{{user.name}}`.'),
    hint: z.string().max(1024).optional().describe('For workloads that have several: what this one is for.'),
    x509: x509Schema.optional(),
    jwt: jwtSchema.optional(),
  }),
})

/** A SPIFFE ID that workloads may be given: https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md. */
export const workloadIdentitySchema = resourceSchema('workload_identity', ['v1'], specSchema)
export type WorkloadIdentity = z.infer<typeof workloadIdentitySchema>

import { z } from 'zod'

/**
 * Names are used in URLs, file names and references: no slash, no control or white space, at most 255 characters; no invisible
 * characters (Unicode's category Cf), by which two names could look alike; not `.` or `..`, which URLs swallow.
 */
export const nameSchema = z
  .string()
  .min(1, 'must not be empty')
  .max(255, 'must be at most 255 characters')
  .regex(/^[^\s/\\\p{Cc}\p{Cf}\p{Cs}]+$/u, 'must not contain white space, slashes, control or invisible characters')
  .refine((name) => name !== '.' && name !== '..', 'must not be . or ..')

/** A moment in RFC 3339, as YAML string. */
export const timestampSchema = z.iso.datetime({ offset: true, error: 'must be an RFC 3339 time such as 2027-01-31T12:00:00Z' })

export const labelsSchema = z.record(z.string().min(1), z.string())

export const metadataSchema = z.strictObject({
  name: nameSchema,
  description: z.string().max(4096).optional(),
  labels: labelsSchema.optional(),
  /** After this moment the store behaves as if the resource were deleted. */
  expires: timestampSchema.optional(),
  /** Set by the store; an update that carries one fails with `aborted` when it is not the current one. */
  revision: z.string().optional(),
  /** Written by Teleport tools; always "default" and ignored here. */
  namespace: z.string().optional(),
  id: z.number().optional(),
})

export type Metadata = z.infer<typeof metadataSchema>
export type Labels = Record<string, string>

/** What every resource is. `spec` belongs to the kind; `status` is written by services, never by people. */
export interface Resource {
  kind: string
  sub_kind?: string | undefined
  version: string
  metadata: Metadata
  spec: unknown
  status?: unknown
}

/** The schema of one kind: the envelope of the document around the kind's own spec. */
export function resourceSchema<K extends string, V extends readonly [string, ...string[]], S extends z.ZodType>(
  kind: K,
  versions: V,
  spec: S,
) {
  return z.strictObject({
    kind: z.literal(kind),
    sub_kind: z.string().optional(),
    version: z.enum(versions, {
      error: ({ input }) =>
        input === undefined
          ? `required: version: ${versions.at(-1)}`
          : `${kind} version ${JSON.stringify(input)} is not supported (use ${versions.join(', ')})`,
    }),
    metadata: metadataSchema,
    spec,
    status: z.unknown().optional(),
  })
}

import { z } from 'zod'
import { yesNoSchema } from '../../lib/yes-no.ts'
import { dbSchema } from '../../resources/db.ts'
import { selectorSchema } from '../../resources/role.ts'

/** A database written into the configuration file: the spec of a `db` with its metadata beside it. */
const staticDatabaseSchema = z
  .looseObject({
    name: z.string(),
    description: z.string().optional(),
    labels: z.record(z.string(), z.string()).optional(),
  })
  .transform(({ name, description, labels, ...spec }) => {
    const metadata = {
      name,
      ...(description !== undefined && { description }),
      labels: { ...labels, 'teleport.dev/origin': 'config-file' },
    }
    const document: unknown = { kind: 'db', version: 'v3', metadata, spec }
    return document
  })
  .pipe(z.unknown().pipe(dbSchema))

/** The section `db_service` of sallyport.yaml. */
export const databasesConfigSchema = z
  .strictObject({
    enabled: yesNoSchema.default(true).describe('Whether the agent of this process connects to databases.'),
    resources: z
      .array(z.strictObject({ labels: selectorSchema.describe('Key to value or values; `"*": "*"` matches every database.') }))
      .default([{ labels: { '*': '*' } }])
      .describe('Which db resources this agent serves; the entries are alternatives. Empty: none.'),
    databases: z
      .array(staticDatabaseSchema)
      .default([])
      .describe('Databases of this agent alone, in the form of a db spec with name, description and labels beside it.'),
    secrets_directory: z
      .string()
      .min(1)
      .optional()
      .describe('Directory of the files that `auth.password_files` of a database names; without it there are no passwords.'),
    connections: z.int().min(1).max(10_000).default(100).describe('Connections to all databases, of all callers.'),
    connections_per_user: z.int().min(1).max(1000).default(8).describe('Connections of one caller.'),
  })
  .describe('Databases: which ones the agent connects to.')

export type DatabasesConfig = z.output<typeof databasesConfigSchema>

import { isAbsolute } from 'node:path'
import { z } from 'zod'

/** Somewhere to put the files of an output. */
export interface Destination {
  /** For messages: `directory /opt/machine-id`. */
  readonly name: string
  /** Says what would stop it from being written, before anything is asked of the Auth Service. */
  check(): Promise<void>
  /** What was written there last under this name, if it can be read back. */
  read(file: string): Promise<string | undefined>
  /** All of them or, should something fail, the old ones; each file changes in one step. */
  write(files: ReadonlyMap<string, string>): Promise<void>
}

/** What cannot be taken for another entry of an ACL. */
const accountSchema = z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,254}\$?$/, 'must be the name or number of an account or a group')

const readerSchema = z
  .strictObject({ user: accountSchema.optional(), group: accountSchema.optional() })
  .refine(({ user, group }) => (user === undefined) !== (group === undefined), { error: 'names either a user or a group' })

const directorySchema = z.strictObject({
  type: z.literal('directory'),
  path: z
    .string()
    .refine(isAbsolute, 'must be an absolute path')
    .describe('Directory of the files; made with mode 0700 when it is missing.'),
  symlinks: z
    .enum(['try-secure', 'secure', 'insecure'])
    .default('try-secure')
    .describe('Whether symbolic links in the path are refused: always, where the system lets us check without a race, or not.'),
  acls: z.enum(['try', 'off', 'required']).default('try').describe('Whether readers are let in by POSIX ACLs.'),
  readers: z.array(readerSchema).max(64).default([]).describe('Users and groups who may read the files beside our own account.'),
})

const memorySchema = z.strictObject({ type: z.literal('memory') }).describe('Ends with the process.')

const kubernetesSecretSchema = z.strictObject({
  type: z.literal('kubernetes_secret'),
  name: z
    .string()
    .regex(/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/, 'must be the name of a Kubernetes secret')
    .describe('The secret.'),
  namespace: z
    .string()
    .regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, 'must be the name of a Kubernetes namespace')
    .optional()
    .describe("Its namespace; the pod's own unless told."),
})

export const destinationSchema = z.discriminatedUnion('type', [directorySchema, memorySchema, kubernetesSecretSchema])
/** Where the bot's own credentials are kept. */
export const storageSchema = z.discriminatedUnion('type', [
  directorySchema.pick({ type: true, path: true, symlinks: true, acls: true }),
  memorySchema,
])

export type DestinationConfig = z.output<typeof destinationSchema>
export type DirectoryConfig = z.output<typeof directorySchema>
export type KubernetesSecretConfig = z.output<typeof kubernetesSecretSchema>
export type StorageConfig = z.output<typeof storageSchema>

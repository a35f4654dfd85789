import { z } from 'zod'
import { isLoopbackAddress } from '../lib/loopback.ts'
import { resourceSchema } from './envelope.ts'

/** `host:port`, the host a name, an IPv4 address or an IPv6 address in brackets. */
const ADDRESS = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?):(\d{1,5})$/

const uriSchema = z
  .string()
  .transform((text) => text.replace(/^postgres(?:ql)?:\/\//, '').replace(/\/$/, ''))
  .pipe(z.string().regex(ADDRESS, 'must be HOST:PORT of the database server, such as pg.internal:5432'))

/** How much of the database server is verified; `disable` speaks without TLS and is for loopback alone. */
const tlsSchema = z.strictObject({
  mode: z.enum(['verify-full', 'verify-ca', 'insecure', 'disable']).default('verify-full'),
  /** PEM of the authorities that signed the server's certificate; the cluster's database CA unless given. */
  ca_cert: z.string().max(65_536).optional(),
  /** The name in the server's certificate, where it is not the host of `uri`. */
  server_name: z.string().min(1).max(253).optional(),
})

const FILE_NAME = /^(?!\.)[A-Za-z0-9._-]{1,100}$/

/** How the agent proves to the database server who connects. */
const authSchema = z
  .strictObject({
    method: z.enum(['client_certificate', 'password']).default('client_certificate'),
    /** Database user → file in the agent's `secrets_directory` that holds its password. */
    password_files: z.record(z.string(), z.string().regex(FILE_NAME, 'must be a file name without a directory')).optional(),
  })
  .refine(({ method, password_files }) => method === 'client_certificate' || Object.keys(password_files ?? {}).length > 0, {
    path: ['password_files'],
    message: 'name a password file for each database user that may be used',
  })

/** What the built-in MCP server of a database does and how much it gives. */
const mcpSchema = z.strictObject({
  read_only: z.boolean().default(true),
  /** Seconds after which the database server ends a statement. */
  statement_timeout: z.int().min(1).max(3600).default(30),
  max_rows: z.int().min(1).max(100_000).default(1000),
  max_bytes: z
    .int()
    .min(1024)
    .max(16 * 1024 * 1024)
    .default(1024 * 1024),
})

/** What programs may do that speak PostgreSQL themselves (`tsh proxy db`). */
const tunnelSchema = z.strictObject({
  read_only: z
    .boolean()
    .default(false)
    .describe('Whether their transactions may read only. `false` (unless given): whatever the database user may.'),
})

const specSchema = z
  .strictObject({
    protocol: z.literal('postgres', { error: 'must be postgres: no other protocol is served' }),
    uri: uriSchema,
    tls: tlsSchema.prefault({}),
    auth: authSchema.prefault({}),
    mcp: mcpSchema.prefault({}),
    tunnel: tunnelSchema.prefault({}),
    /** Fields of the format without meaning here: kept as they are. */
    ca_cert: z.unknown().optional(),
    admin_user: z.unknown().optional(),
    dynamic_labels: z.unknown().optional(),
    aws: z.unknown().optional(),
    gcp: z.unknown().optional(),
    azure: z.unknown().optional(),
    ad: z.unknown().optional(),
  })
  .superRefine((spec, context) => {
    if (Number(spec.uri.slice(spec.uri.lastIndexOf(':') + 1)) > 65_535)
      context.addIssue({ code: 'custom', path: ['uri'], message: 'the port must be at most 65535' })
    if (spec.tls.mode !== 'disable') return
    const { host } = databaseAddress(spec.uri)
    if (host !== 'localhost' && !isLoopbackAddress(host))
      context.addIssue({ code: 'custom', path: ['tls', 'mode'], message: 'disable is for a database on loopback only' })
    if (spec.auth.method === 'client_certificate')
      context.addIssue({
        code: 'custom',
        path: ['auth', 'method'],
        message: 'a client certificate needs TLS: use password, or another tls.mode',
      })
  })

export const dbSchema = resourceSchema('db', ['v3'], specSchema)
/** A database server that agents may connect to for their callers. */
export type Database = z.infer<typeof dbSchema>

/** Host and port of `spec.uri`; an IPv6 host without its brackets. */
export function databaseAddress(uri: string): { host: string; port: number } {
  const colon = uri.lastIndexOf(':')
  return { host: uri.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(uri.slice(colon + 1)) }
}

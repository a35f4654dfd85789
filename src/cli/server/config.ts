import { readFile } from 'node:fs/promises'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { z } from 'zod'
import { AppError } from '../../lib/errors.ts'
import { type Environment, stateDirectory } from '../../lib/paths.ts'
import { checkAgainst } from '../../lib/schema.ts'
import { describeSystemError } from '../../lib/system-error.ts'
import { parseYamlDocuments } from '../../lib/yaml.ts'
import { yesNoSchema } from '../../lib/yes-no.ts'
import { agentConfigSchema } from '../../services/agent/config.ts'
import { databasesConfigSchema } from '../../services/agent/databases-config.ts'
import { authConfigSchema } from '../../services/auth/config.ts'
import { locateStore, storageConfigSchema } from '../../services/auth/storage-config.ts'
import { proxyConfigSchema, splitAddress } from '../../services/proxy/config.ts'
import type { StoreLocation } from '../../storage/store.ts'
import { findMembership, type Membership, membershipFields, type MembershipFlags } from './membership.ts'

const LEVELS = { DEBUG: 'debug', INFO: 'info', WARN: 'warn', WARNING: 'warn', ERROR: 'error', ERR: 'error' } as const

const logSchema = z
  .strictObject({
    severity: z
      .string()
      .transform((text) => text.toUpperCase())
      .pipe(z.enum(['DEBUG', 'INFO', 'WARN', 'WARNING', 'ERROR', 'ERR']))
      .default('INFO')
      .describe('The least severe level that is logged: DEBUG, INFO, WARN or ERROR.'),
    output: z.literal('stderr').default('stderr').describe('Logs go to standard error, as JSON lines.'),
    format: z.unknown().optional().describe('Accepted, without effect: logs are always JSON lines.'),
  })
  .prefault({})

/** Without a host, loopback: what is served there is for nobody else unless somebody says so. */
const diagAddressSchema = z
  .union([z.string(), z.int().transform(String)])
  .pipe(z.string().regex(/^(?:(?:(?:\[[0-9a-fA-F:]+\]|[^:\s[\]]*):)?\d{1,5})?$/, 'must be HOST:PORT, such as 127.0.0.1:3081, or a port'))

const sharedSchema = z.strictObject({
  ...membershipFields,
  data_dir: z.string().min(1).optional().describe('Directory of the store, keys and audit log. SALLYPORT_HOME and --data-dir win over it.'),
  storage: storageConfigSchema.optional(),
  log: logSchema.describe('Logging.'),
  nodename: z.string().min(1).optional().describe('How this host calls itself; the host name unless told.'),
  diag_addr: diagAddressSchema
    .optional()
    .describe(
      'Where /metrics, /healthz and /readyz are served, HOST:PORT or a port of loopback. --diag-addr wins over it; off unless set.',
    ),
})

/** A section of teleport.yaml that we have no service for: files often have it to switch it off. */
const foreignSchema = z
  .looseObject({ enabled: yesNoSchema.optional() })
  .refine(({ enabled }) => enabled === false, 'Sallyport has no such service: remove the section, or write "enabled: no"')
  .optional()
  .describe("Teleport's; accepted where it says `enabled: no`.")

/** The whole of sallyport.yaml. */
export const fileSchema = z
  .strictObject({
    version: z.enum(['v1', 'v2', 'v3']).optional().describe('Version of the format; there is one.'),
    teleport: sharedSchema.optional().describe('What all services share.'),
    sallyport: sharedSchema.optional().describe('Another name for the section `teleport`; only one of the two may be there.'),
    auth_service: authConfigSchema.prefault({}),
    proxy_service: proxyConfigSchema.prefault({}),
    app_service: agentConfigSchema.prefault({}),
    db_service: databasesConfigSchema.prefault({}),
    ssh_service: foreignSchema,
    kubernetes_service: foreignSchema,
    windows_desktop_service: foreignSchema,
    discovery_service: foreignSchema,
    jamf_service: foreignSchema,
    okta_service: foreignSchema,
    debug_service: foreignSchema,
  })
  .superRefine(({ teleport, sallyport }, context) => {
    if (teleport && sallyport)
      context.addIssue({
        code: 'custom',
        path: ['sallyport'],
        message: 'is another name for the section "teleport", which is there too: keep one',
      })
  })

export interface Config {
  dataDirectory: string
  /** Where the store is; absent: in the data directory. */
  store?: StoreLocation | undefined
  logLevel: (typeof LEVELS)[keyof typeof LEVELS]
  nodename: string | undefined
  auth: z.output<typeof authConfigSchema>
  proxy: z.output<typeof proxyConfigSchema>
  agent: z.output<typeof agentConfigSchema>
  databases: z.output<typeof databasesConfigSchema>
  /** Where to serve metrics and health; absent: nowhere. */
  diag?: { host: string; port: number } | undefined
  /** The cluster that this host belongs to; absent: the one of its own Auth Service. */
  membership?: Membership | undefined
}

export interface ConfigSources {
  /** Path given with `-c`. */
  file: string | undefined
  /** Given with `--data-dir`. */
  dataDirectory: string | undefined
  /** Given with `--diag-addr`. */
  diagAddress?: string | undefined
  /** Given with `--token`, `--ca-pin` and `--auth-server`. */
  join?: MembershipFlags | undefined
  /** Given with `--roles`: the services to run, whatever the file says. */
  roles?: string | undefined
  env: Environment
}

/** The configuration of this process; without a file, everything on loopback. All faults of a file come in one error. */
export async function loadConfig(sources: ConfigSources): Promise<Config> {
  const parsed = sources.file === undefined ? fileSchema.parse({}) : await loadFile(sources.file)
  const shared = parsed.sallyport ?? parsed.teleport ?? sharedSchema.parse({})
  const given = sources.dataDirectory ?? (sources.env['SALLYPORT_HOME'] || undefined)
  const fromFile =
    shared.data_dir !== undefined && !isAbsolute(shared.data_dir) && sources.file
      ? resolve(join(sources.file, '..'), shared.data_dir)
      : shared.data_dir
  const services = withRoles(parsed, sources.roles)
  return {
    dataDirectory: resolve(given ?? fromFile ?? join(stateDirectory(sources.env, 'sallyport'), 'data')),
    logLevel: LEVELS[shared.log.severity],
    nodename: shared.nodename,
    diag: findDiagAddress(sources.diagAddress, shared.diag_addr),
    membership: findMembership(shared, sources.join ?? {}, sources.env),
    ...services,
    store: services.auth.enabled ? await locateStore(shared.storage, dirname(sources.file ?? '.')) : undefined,
  }
}

const ROLES = ['auth', 'proxy', 'app', 'db'] as const

/** The services of `--roles`, and no others; those of the file where none is given. */
function withRoles(
  { auth_service, proxy_service, app_service, db_service }: z.output<typeof fileSchema>,
  text: string | undefined,
): Pick<Config, 'auth' | 'proxy' | 'agent' | 'databases'> {
  if (text === undefined) return { auth: auth_service, proxy: proxy_service, agent: app_service, databases: db_service }
  const roles = text.split(',').map((role) => role.trim())
  const unknown = roles.find((role) => !ROLES.some((known) => known === role))
  if (unknown !== undefined) throw new AppError('invalid_argument', `--roles knows ${ROLES.join(', ')}, not "${unknown}"`)
  return {
    auth: { ...auth_service, enabled: roles.includes('auth') },
    proxy: { ...proxy_service, enabled: roles.includes('proxy') },
    agent: { ...app_service, enabled: roles.includes('app') },
    databases: { ...db_service, enabled: roles.includes('db') },
  }
}

function findDiagAddress(flag: string | undefined, fromFile: string | undefined): Config['diag'] {
  const parsed = flag === undefined ? undefined : diagAddressSchema.safeParse(flag)
  if (parsed && !parsed.success) throw new AppError('invalid_argument', `--diag-addr ${parsed.error.issues[0]?.message}, not "${flag}"`)
  const address = parsed?.data ?? fromFile
  if (!address) return undefined
  const { host, port } = splitAddress(address.includes(':') ? address : `:${address}`)
  return { host: host || '127.0.0.1', port }
}

async function loadFile(path: string): Promise<z.output<typeof fileSchema>> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    const why = describeSystemError(cause)?.message.replace(/^.*: /, '')
    throw new AppError('invalid_argument', `cannot read the configuration file ${path}${why === undefined ? '' : `: ${why}`}`, { cause })
  })
  const [document, ...more] = parseYamlDocuments(text, path)
  if (more.length > 0)
    throw new AppError('invalid_argument', `${path}: a configuration file is one YAML document, this has ${more.length + 1}`)
  return document ? checkAgainst(fileSchema, document, path) : fileSchema.parse({})
}

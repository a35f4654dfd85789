import { join } from 'node:path'
import { z } from 'zod'
import { AppError } from '../../lib/errors.ts'
import { stateDirectory } from '../../lib/paths.ts'
import type { Environment } from '../../lib/paths.ts'
import { checkAgainst } from '../../lib/schema.ts'
import { readTextIfPresent } from '../../lib/atomic-file.ts'
import { parseYamlDocuments } from '../../lib/yaml.ts'
import { yesNoSchema } from '../../lib/yes-no.ts'
import { storageSchema } from './destination.ts'
import type { StorageConfig } from './destination.ts'
import { findSpanFault, resolveSpans, spanFields } from './durations.ts'
import type { KubernetesApi } from './kubernetes-secret.ts'
import { onboardingSchema } from './onboarding.ts'
import { serviceSchema } from './service.ts'
import type { ServiceConfig } from './service.ts'

const MAX_SERVICES = 100
const servicesSchema = z.array(serviceSchema).max(MAX_SERVICES, `are at most ${MAX_SERVICES}`)
const address = z.string().regex(/^(\[[0-9a-fA-F:]+\]|[^:\s[\]/]+)(:\d{1,5})?$/, 'must be HOST:PORT, such as sallyport.example.com:443')

/** The whole of tbot.yaml. */
export const botFileSchema = z
  .strictObject({
    version: z.enum(['v1', 'v2'], { error: ({ input }) => `${JSON.stringify(input)} is not supported (use v2)` }).default('v2'),
    proxy_server: address.optional().describe('The proxy of the cluster, HOST:PORT.'),
    auth_server: address.optional().describe('Another name for proxy_server: the Auth Service is reached through the proxy.'),
    onboarding: onboardingSchema.describe('How the bot joins the cluster, the first time.'),
    storage: storageSchema.optional().describe("Where the bot's own credentials are kept."),
    services: servicesSchema.optional().describe('What the bot writes or offers.'),
    outputs: servicesSchema.optional().describe('The older name of services.'),
    ...spanFields,
    certificate_ttl: spanFields.credential_ttl.describe('The older name of credential_ttl.'),
    oneshot: yesNoSchema.default(false).describe('Renew once, write, and end.'),
    debug: yesNoSchema.default(false).describe('Log more.'),
    diag_addr: z
      .union([z.string(), z.int().transform(String)])
      .pipe(z.string().regex(/^(?:(?:\[[0-9a-fA-F:]+\]|[^:\s[\]]*):)?\d{1,5}$/, 'must be HOST:PORT, such as 127.0.0.1:3001, or a port'))
      .optional()
      .describe('Where /readyz, /livez and /metrics are served, HOST:PORT or a port of loopback.'),
    insecure: yesNoSchema.default(false).describe('Do not check who the proxy is. For tests only.'),
  })
  .superRefine((file, context) => {
    const fault = (path: (string | number)[], message: string): void => context.addIssue({ code: 'custom', path, message })
    if (file.proxy_server !== undefined && file.auth_server !== undefined)
      fault(['auth_server'], 'is another name for proxy_server, which is there too: keep one')
    if (file.proxy_server === undefined && file.auth_server === undefined) fault(['proxy_server'], 'required')
    if (file.services && file.outputs) fault(['outputs'], 'is the older name of services, which is there too: keep one')
    if (file.certificate_ttl !== undefined && file.credential_ttl !== undefined)
      fault(['certificate_ttl'], 'is the older name of credential_ttl, which is there too: keep one')
    const inherited = inheritedSpans(file)
    const spanFault = file.oneshot ? undefined : findSpanFault(inherited)
    if (spanFault !== undefined) fault(['renewal_interval'], spanFault)
    checkServices(file, (path, message) => fault(path, message))
  })

export type BotFile = z.output<typeof botFileSchema>

/** A service with what it inherits filled in. */
export type NamedService = ServiceConfig & { name: string; ttlMs: number; intervalMs: number }

export interface BotConfig {
  /** HOST:PORT as written. */
  proxy: string
  onboarding: BotFile['onboarding']
  storage: StorageConfig
  services: NamedService[]
  intervalMs: number
  oneshot: boolean
  debug: boolean
  insecure: boolean
  diag: { host: string; port: number } | undefined
}

/**
 * The configuration of a `tbot.yaml`, or of its text given otherwise. All faults come in one `invalid_argument`, as
 * `file:line:column path: message`.
 */
export function parseBotConfig(text: string, fileName: string, env: Environment, overrides?: Overrides): BotConfig {
  const [document, ...more] = parseYamlDocuments(text, fileName)
  if (!document) throw new AppError('invalid_argument', `${fileName}: the file is empty: tbot configure identity … prints one`)
  if (more.length > 0)
    throw new AppError('invalid_argument', `${fileName}: a configuration file is one YAML document, this has ${more.length + 1}`)
  const value = overrides ? override(document.value, overrides) : document.value
  return resolveConfig(checkAgainst(botFileSchema, { ...document, value }, fileName), env)
}

/** The same of the file at `path`. */
export async function loadBotConfig(path: string, env: Environment, overrides: Overrides): Promise<BotConfig> {
  const text = await readTextIfPresent(path)
  if (text === undefined) throw new AppError('invalid_argument', `there is no configuration file ${path}`)
  return parseBotConfig(text, path, env, overrides)
}

/** Members of the file that flags and the environment stand in for. */
export interface Overrides {
  top: Record<string, unknown>
  onboarding: Record<string, unknown>
}

/** One spelling of a setting replaces the other. */
const OLDER_NAMES: Readonly<Record<string, string>> = { proxy_server: 'auth_server', credential_ttl: 'certificate_ttl' }

function override(value: unknown, { top, onboarding }: Overrides): unknown {
  if (!isRecord(value)) return value
  const members: Record<string, unknown> = { ...value, ...top }
  for (const [name, older] of Object.entries(OLDER_NAMES)) if (name in top) delete members[older]
  const before = value['onboarding'] ?? {}
  if (Object.keys(onboarding).length > 0 && isRecord(before)) members['onboarding'] = { ...before, ...onboarding }
  return members
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const ACCOUNT_DIRECTORY = '/var/run/secrets/kubernetes.io/serviceaccount'

/** The API server of the pod this runs in, if it runs in one. */
export function findKubernetes(env: Environment): KubernetesApi | undefined {
  const host = env['KUBERNETES_SERVICE_HOST']
  if (!host) return undefined
  return {
    host,
    port: Number(env['KUBERNETES_SERVICE_PORT_HTTPS'] ?? env['KUBERNETES_SERVICE_PORT'] ?? 443),
    accountDirectory: ACCOUNT_DIRECTORY,
  }
}

function resolveConfig(file: BotFile, env: Environment): BotConfig {
  const inherited = inheritedSpans(file)
  return {
    proxy: file.proxy_server ?? file.auth_server ?? '',
    onboarding: file.onboarding,
    storage: file.storage ?? { type: 'directory', path: defaultStorage(env), symlinks: 'try-secure', acls: 'try' },
    services: (file.services ?? file.outputs ?? []).map((service, index) => ({
      ...service,
      name: service.name ?? defaultName(service, index),
      ...resolveSpans(service, inherited),
    })),
    intervalMs: resolveSpans({}, inherited).intervalMs,
    oneshot: file.oneshot,
    debug: file.debug,
    insecure: file.insecure,
    diag: findDiagAddress(file.diag_addr),
  }
}

function inheritedSpans(file: {
  credential_ttl?: number | undefined
  certificate_ttl?: number | undefined
  renewal_interval?: number | undefined
}) {
  return { credential_ttl: file.credential_ttl ?? file.certificate_ttl, renewal_interval: file.renewal_interval }
}

function checkServices(
  file: Parameters<typeof inheritedSpans>[0] & Pick<BotFile, 'services' | 'outputs' | 'oneshot' | 'storage'>,
  fault: (path: (string | number)[], message: string) => void,
): void {
  const key = file.services ? 'services' : 'outputs'
  const names = new Set<string>(['self'])
  const places = new Set<string>()
  const own = file.storage?.type === 'directory' ? join(file.storage.path, '.') : undefined
  for (const [index, service] of (file.services ?? file.outputs ?? []).entries()) {
    const name = service.name ?? defaultName(service, index)
    if (names.has(name))
      fault(
        [key, index, 'name'],
        name === 'self' ? 'is the name of the bot itself: choose another' : `"${name}" is the name of another service too`,
      )
    names.add(name)
    const spanFault = file.oneshot ? undefined : findSpanFault(service, inheritedSpans(file))
    if (spanFault !== undefined && (service.renewal_interval !== undefined || 'credential_ttl' in service))
      fault([key, index, 'renewal_interval'], spanFault)
    const place = placeOf(service)
    if (place !== undefined && places.has(place)) fault([key, index, 'destination'], `two services would write to ${place}`)
    if (place !== undefined && place === own)
      fault([key, index, 'destination'], `is where the bot keeps its own credentials: choose another place than ${place}`)
    if (place !== undefined) places.add(place)
  }
}

function placeOf({ destination }: ServiceConfig): string | undefined {
  if (!destination || destination.type === 'memory') return undefined
  return destination.type === 'directory' ? join(destination.path, '.') : `the secret ${destination.namespace ?? ''}/${destination.name}`
}

function defaultName(service: ServiceConfig, index: number): string {
  return `${service.type}-${index + 1}`
}

/** A service account has a place of its own; so has root. */
function defaultStorage(env: Environment): string {
  return process.getuid?.() === 0 ? '/var/lib/sallyport/bot' : join(stateDirectory(env, 'sallyport'), 'bot')
}

function findDiagAddress(text: string | undefined): BotConfig['diag'] {
  if (text === undefined) return undefined
  const colon = text.lastIndexOf(':')
  return { host: text.slice(0, Math.max(0, colon)).replace(/^\[|\]$/g, '') || '127.0.0.1', port: Number(text.slice(colon + 1)) }
}

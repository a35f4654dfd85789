import { z } from 'zod'
import { findDuration } from '../lib/duration.ts'
import { callerWordFields, type CallerWordFields, findCallerWordFault } from './caller-words.ts'
import { resourceSchema } from './envelope.ts'
import { findHostingFault, findHostingField, hostingFields } from './hosting.ts'
import { findSecretFault, secretNameSchema, secretsIn } from './secret.ts'

/** What the built-in demo server is registered as. */
export const DEMO_URI = 'mcp+stdio://teleport-mcp-demo'

/** Of a program; it has no address. */
const STDIO_URI = 'mcp+stdio://'

/** The scheme of a database's own MCP server; only the gateway itself speaks of such, no document of a person can. */
export const DATABASE_SCHEME = 'mcp+postgres:'

/** How the agent in front of an MCP server reaches it; chosen by the scheme of `spec.uri`. */
export type Transport = 'stdio' | 'sse' | 'http' | 'postgres'

const SCHEMES: Record<string, Transport> = {
  'mcp+stdio:': 'stdio',
  'mcp+sse+http:': 'sse',
  'mcp+sse+https:': 'sse',
  'mcp+http:': 'http',
  'mcp+https:': 'http',
  [DATABASE_SCHEME]: 'postgres',
}

const WRITTEN_SCHEMES = Object.keys(SCHEMES).filter((scheme) => scheme !== DATABASE_SCHEME)

const headerSchema = z.strictObject({
  name: z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, 'must be an HTTP header name (RFC 9110)'),
  value: z.string().regex(/^[\t\x20-\x7e\x80-\xff]*$/, 'must not contain control characters'),
})

const mcpSchema = z.strictObject({
  /** Program of a stdio server; started without a shell. */
  command: z.string().min(1).optional(),
  args: z.array(z.string()).optional(),
  /** Account the command runs as. Required for stdio servers. */
  run_as_host_user: z.string().min(1).optional(),
  /** How callers have accounts of their own at an HTTP server that asks for OAuth. */
  oauth: z
    .strictObject({
      mode: z.literal('per_user').describe('Each user signs in to the server with an account of their own.'),
      scopes: z
        .array(z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/, 'must be a scope (RFC 6749)'))
        .max(50)
        .optional()
        .describe('What is asked for; unless given, what the server asks for.'),
      client_id: z.string().min(1).max(2000).optional().describe('Where an administrator registered the cluster as a client.'),
      client_secret: z
        .strictObject({ secret: secretNameSchema.describe('Name of a `secret`.') })
        .optional()
        .describe('Its secret, if it was given one.'),
      authorization_server: z
        .url({ protocol: /^https?$/ })
        .max(2000)
        .optional()
        .describe('The issuer, where the server does not say it, or says it only where the Auth Service does not reach it.'),
    })
    .optional(),
  ...hostingFields,
})

const dynamicLabelSchema = z.strictObject({
  command: z.array(z.string()).min(1).describe('Program and arguments, started without a shell. The first line it writes is the value.'),
  period: z
    .string()
    .refine((text) => findDuration(text) !== undefined, 'must be a duration such as 1m')
    .describe('How often it is run.'),
  result: z.string().optional(),
})

/** Fields of the format that have no meaning for an MCP server: kept as they are. */
const kept = z.unknown().optional()

const specSchema = z
  .strictObject({
    uri: z.string().optional(),
    public_addr: z.string().optional(),
    insecure_skip_verify: z.boolean().optional(),
    rewrite: z
      .strictObject({
        headers: z.array(headerSchema).optional(),
        ...callerWordFields,
        jwt_claims: z.enum(['', 'roles-and-traits', 'roles', 'traits', 'none']).optional(),
        redirect: kept,
      })
      .optional(),
    dynamic_labels: z.record(z.string(), dynamicLabelSchema).optional(),
    mcp: mcpSchema.optional(),
    tls: kept,
    aws: kept,
    cors: kept,
    cloud: kept,
    tcp_ports: kept,
    integration: kept,
    user_groups: kept,
    required_app_names: kept,
    use_any_proxy_public_addr: kept,
    identity_center: kept,
    inference: kept,
  })
  .superRefine((spec, context) => {
    const fault = findFault(spec)
    if (fault) context.addIssue({ code: 'custom', path: fault.path, message: fault.message })
  })
  .transform((spec) => ({ ...spec, uri: spec.uri || STDIO_URI }))

export const appSchema = resourceSchema('app', ['v3'], specSchema)
export type App = z.infer<typeof appSchema>

interface Fault {
  path: string[]
  message: string
}

/** The first thing that keeps this spec from describing an MCP server, if any. */
function findFault(spec: {
  uri?: string | undefined
  rewrite?: (CallerWordFields & { headers?: z.infer<typeof headerSchema>[] | undefined }) | undefined
  mcp?: z.infer<typeof mcpSchema> | undefined
}): Fault | undefined {
  for (const [index, { value }] of (spec.rewrite?.headers ?? []).entries()) {
    const message = findSecretFault(value)
    if (message) return { path: ['rewrite', 'headers', String(index), 'value'], message }
  }
  const isProgram = spec.mcp?.command !== undefined
  const fault = findCallerWordFault(spec.rewrite ?? {}, spec.mcp ?? {}, isProgram)
  if (fault) return { path: ['rewrite', ...fault.path], message: fault.message }
  if (!spec.uri && !spec.mcp) return { path: ['uri'], message: 'URI is empty: give spec.uri (mcp+http://…) or spec.mcp.command' }
  if (spec.uri) {
    const url = URL.parse(spec.uri)
    if (!url || !SCHEMES[url.protocol])
      return { path: ['uri'], message: `must start with ${WRITTEN_SCHEMES.join('//, ')}//: only MCP servers are served${likelyUri(url)}` }
    if (SCHEMES[url.protocol] !== 'stdio') {
      if (!url.host) return { path: ['uri'], message: 'must name a host' }
      if (url.username || url.password) return { path: ['uri'], message: 'must not contain credentials: use rewrite.headers' }
      if (spec.mcp?.command)
        return { path: ['mcp', 'command'], message: 'an HTTP server has no command: give either spec.uri or spec.mcp.command' }
      return findForeignField(spec.mcp) ?? findOAuthFault(spec)
    }
    if (spec.mcp?.oauth) return { path: ['mcp', 'oauth'], message: 'is for servers that are reached over HTTP' }
    if (spec.uri === DEMO_URI) return findForeignField(spec.mcp)
  }
  if (spec.mcp?.oauth) return { path: ['mcp', 'oauth'], message: 'is for servers that are reached over HTTP' }
  if (!spec.mcp?.command) return { path: ['mcp', 'command'], message: 'a stdio server needs a command' }
  if (!spec.mcp.run_as_host_user)
    return { path: ['mcp', 'run_as_host_user'], message: 'a stdio server needs run_as_host_user, the account its command runs as' }
  const contradiction = findHostingFault(spec.mcp)
  return contradiction && { path: ['mcp', ...contradiction.path], message: contradiction.message }
}

function findForeignField(mcp: z.infer<typeof mcpSchema> | undefined): Fault | undefined {
  const name = findHostingField(mcp ?? {})
  return name ? { path: ['mcp', name], message: 'is for servers that the agent starts by a command' } : undefined
}

function findOAuthFault(spec: Parameters<typeof findFault>[0]): Fault | undefined {
  const { oauth } = spec.mcp ?? {}
  if (!oauth) return undefined
  if (spec.rewrite?.headers?.some(({ name }) => name.toLowerCase() === 'authorization'))
    return { path: ['mcp', 'oauth'], message: 'sets the header Authorization, and so does rewrite.headers' }
  if (oauth.client_secret && oauth.client_id === undefined) return { path: ['mcp', 'oauth', 'client_secret'], message: 'needs client_id' }
  return undefined
}

/** How its MCP server is reached, by the scheme of its URI. */
export function transportOf(app: App): Transport {
  return SCHEMES[new URL(app.spec.uri).protocol] ?? 'stdio'
}

export function isDemo(app: App): boolean {
  return app.spec.uri === DEMO_URI
}

/** To whom a signed word about a caller is addressed: the URI, of a program the name of the server with it. */
export function audienceOf({ metadata, spec }: App): string {
  return spec.uri === STDIO_URI ? STDIO_URI + encodeURIComponent(metadata.name) : spec.uri
}

/** Whether it is the MCP server of a database, over which `db_labels` decide. */
export function isDatabase(app: App): boolean {
  return app.spec.uri.startsWith(DATABASE_SCHEME)
}

/** The secrets that it names, each once. */
export function secretsOf({ spec }: App): string[] {
  const inHeaders = spec.rewrite?.headers?.flatMap(({ value }) => secretsIn(value)) ?? []
  const inEnvironment = spec.mcp?.env_from?.flatMap((source) => ('secret' in source ? [source.secret] : [])) ?? []
  return [...new Set([...inHeaders, ...inEnvironment])]
}

/** The `http(s)://` URL behind an `mcp+…` URI; only for HTTP and SSE servers. */
export function upstreamUrl(app: App): URL {
  return new URL(app.spec.uri.replace(/^mcp\+(sse\+)?/, ''))
}

/** The labels a role sees: those of the metadata, results of dynamic labels over them, and the system's own. */
export function labelsOf(app: App): Record<string, string> {
  const labels: Record<string, string> = { ...app.metadata.labels }
  for (const [key, label] of Object.entries(app.spec.dynamic_labels ?? {})) labels[key] = label.result ?? ''
  if (!isDatabase(app)) labels['teleport.internal/app-sub-kind'] = 'mcp'
  return labels
}

/** What somebody means who writes the URL of an MCP server as it is. */
function likelyUri(url: URL | null): string {
  return url?.protocol === 'http:' || url?.protocol === 'https:' ? ` (did you mean "mcp+${url.protocol}//${url.host}…"?)` : ''
}

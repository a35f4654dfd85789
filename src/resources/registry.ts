import type { z } from 'zod'
import { AppError } from '../lib/errors.ts'
import { renderNearest } from '../lib/nearest.ts'
import { appAuthConfigSchema } from './app-auth-config.ts'
import { appServerSchema } from './app-server.ts'
import { appSchema } from './app.ts'
import { botInstanceSchema } from './bot-instance.ts'
import { botSchema } from './bot.ts'
import { CLUSTER_AUTH_PREFERENCE, clusterAuthPreferenceSchema } from './cluster-auth-preference.ts'
import { dbServerSchema } from './db-server.ts'
import { dbSchema } from './db.ts'
import type { Resource } from './envelope.ts'
import { githubSchema } from './github.ts'
import { hostSchema } from './host.ts'
import { lockSchema } from './lock.ts'
import { mcpSetSchema } from './mcp-set.ts'
import { oauthClientSchema } from './oauth-client.ts'
import { oidcSchema } from './oidc.ts'
import { proxySchema } from './proxy.ts'
import { roleSchema } from './role.ts'
import { secretSchema } from './secret.ts'
import { tokenSchema } from './token.ts'
import { userSchema } from './user.ts'
import { workloadIdentitySchema } from './workload-identity.ts'

export interface KindRow {
  schema: z.ZodType<Resource>
  /** What `tctl get`, `rm` and `edit` understand beside the kind itself. */
  aliases: readonly string[]
  /** The one name a resource of this kind has: it can be changed, not created twice or deleted. */
  singleton?: string
  /** Its name is a secret, shown only with `--with-secrets`. */
  secretName?: true
  /** Members of `spec` that are kept sealed beside the resource: shown with `--with-secrets` only, and kept by an update that leaves them out. */
  secretFields?: readonly string[]
  /** Written by services, read-only for everybody else. */
  heartbeat?: true
  /** Written by the Auth Service itself; whoever may can read and delete it. */
  recorded?: true
  purpose: string
}

/** All nouns. A kind without behaviour of its own needs its schema file and a row here, nothing else. */
export const KINDS = {
  app: { schema: appSchema, aliases: ['apps'], purpose: 'An MCP server that agents may serve.' },
  app_server: { schema: appServerSchema, aliases: ['app_servers'], heartbeat: true, purpose: 'An MCP server as one agent offers it now.' },
  app_auth_config: {
    schema: appAuthConfigSchema,
    aliases: ['app_auth_configs'],
    purpose: 'Whose JWTs, beside our own tokens, open MCP servers.',
  },
  db: { schema: dbSchema, aliases: ['dbs', 'database', 'databases'], purpose: 'A database server that agents may connect to.' },
  db_server: { schema: dbServerSchema, aliases: ['db_servers'], heartbeat: true, purpose: 'A database as one agent offers it now.' },
  proxy: {
    schema: proxySchema,
    aliases: ['proxies', 'proxy_server', 'proxy_servers'],
    heartbeat: true,
    purpose: 'A Proxy Service that agents dial.',
  },
  mcp_set: { schema: mcpSetSchema, aliases: ['mcp_sets', 'sets'], purpose: 'A selection of MCP servers under one URL, `/mcp/sets/NAME`.' },
  oauth_client: {
    schema: oauthClientSchema,
    aliases: ['oauth_clients'],
    secretFields: ['client_secret'],
    purpose: 'An MCP client that may ask people to act for them.',
  },
  secret: { schema: secretSchema, aliases: ['secrets'], purpose: 'A value that MCP servers ask of the gateway; written, never shown.' },
  oidc: {
    schema: oidcSchema,
    aliases: [],
    secretFields: ['client_secret'],
    purpose: 'An identity provider (OpenID Connect) by which people sign in.',
  },
  github: {
    schema: githubSchema,
    aliases: [],
    secretFields: ['client_secret'],
    purpose: 'GitHub, as where people sign in; their teams give roles.',
  },
  role: { schema: roleSchema, aliases: ['roles'], purpose: 'What its bearers may reach and administer.' },
  user: { schema: userSchema, aliases: ['users'], purpose: 'A person with roles and traits.' },
  bot: { schema: botSchema, aliases: ['bots'], purpose: 'A machine identity with roles and traits.' },
  bot_instance: {
    schema: botInstanceSchema,
    aliases: ['bot_instances'],
    recorded: true,
    purpose: 'One place where a bot runs, made when it joins.',
  },
  host: { schema: hostSchema, aliases: ['hosts', 'instance', 'instances'], recorded: true, purpose: 'A machine that joined the cluster.' },
  token: { schema: tokenSchema, aliases: ['tokens'], secretName: true, purpose: 'Lets an agent or a bot join.' },
  workload_identity: {
    schema: workloadIdentitySchema,
    aliases: ['workload_identities'],
    purpose: 'A SPIFFE ID that workloads may be given, and which of them.',
  },
  lock: { schema: lockSchema, aliases: ['locks'], purpose: 'Cuts off whatever it targets, at once.' },
  cluster_auth_preference: {
    schema: clusterAuthPreferenceSchema,
    aliases: ['cap'],
    singleton: CLUSTER_AUTH_PREFERENCE,
    purpose: 'How people sign in to this cluster.',
  },
} as const satisfies Record<string, KindRow>

export type Kind = keyof typeof KINDS
export type ResourceOf<K extends Kind> = z.infer<(typeof KINDS)[K]['schema']>

/** Words that mean several kinds at once. */
const GROUPS: Readonly<Record<string, readonly Kind[]>> = {
  connector: ['oidc', 'github'],
  connectors: ['oidc', 'github'],
  auth_connector: ['oidc', 'github'],
  auth_connectors: ['oidc', 'github'],
}

export function isKind(text: string): text is Kind {
  return Object.hasOwn(KINDS, text)
}

export function kindRow(kind: Kind): KindRow {
  return KINDS[kind]
}

/** The kinds that a word on the command line means, in the order in which a name is looked for. */
export function parseKinds(word: string): readonly Kind[] {
  const lower = word.toLowerCase()
  return (Object.hasOwn(GROUPS, lower) ? GROUPS[lower] : undefined) ?? [parseKind(word)]
}

/** The kind that a word on the command line means. */
export function parseKind(word: string): Kind {
  const lower = word.toLowerCase()
  for (const kind of Object.keys(KINDS)) {
    if (isKind(kind) && (kind === lower || kindRow(kind).aliases.includes(lower))) return kind
  }
  throw new AppError(
    'invalid_argument',
    `unsupported resource "${word}"${renderNearest(lower, Object.keys(KINDS))}: write KIND or KIND/NAME, for example app/everything (kinds: ${Object.keys(KINDS).join(', ')})`,
  )
}

/** A resource of the kind that the registry knows, checked and with defaults; throws `invalid_argument` naming every fault. */
export function parseResource<K extends Kind>(kind: K, document: unknown): ResourceOf<K>
export function parseResource(kind: Kind, document: unknown): Resource {
  const parsed = kindRow(kind).schema.safeParse(document)
  if (parsed.success) return parsed.data
  const faults = parsed.error.issues.map((issue) => `${issue.path.join('.') || kind}: ${issue.message}`)
  throw new AppError('invalid_argument', faults.join('\n'), { details: { faults } })
}

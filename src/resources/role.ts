import { z } from 'zod'
import { findDuration } from '../lib/duration.ts'
import { resourceSchema } from './envelope.ts'
import { sessionMfaSchema } from './session-mfa.ts'

export const VERBS = ['list', 'create', 'read', 'readnosecrets', 'update', 'delete', 'use', 'rotate', '*'] as const
export type Verb = (typeof VERBS)[number]

/** Names of roles the services themselves carry; a role resource cannot take one. */
export const SYSTEM_ROLES = [
  'Admin',
  'Auth',
  'Proxy',
  'Node',
  'App',
  'Db',
  'Kube',
  'Bot',
  'Discovery',
  'Instance',
  'WindowsDesktop',
] as const

/** Key → value or values. Keys AND together, the values of one key OR. */
export const selectorSchema = z.record(z.string(), z.union([z.string(), z.array(z.string())]))
export type Selector = z.infer<typeof selectorSchema>

const duration = z.string().refine((text) => findDuration(text) !== undefined, 'must be a duration such as 30m or 12h')
const strings = z.array(z.string())
/** Conditions of the format that govern things other than MCP servers: kept, without effect here. */
const kept = z.unknown().optional()

const mcpSchema = z.strictObject({
  /** Literal names, globs (`slack_*`), regexes (`^(get|list)_.*$`), templates (`{{internal.mcp_tools}}`). */
  tools: strings.optional(),
  /** The same over resource URIs. Absent in every role that grants the server: resources are not restricted. */
  resources: strings.optional(),
  /** The same over prompt names. Absent in every role that grants the server: prompts are not restricted. */
  prompts: strings.optional(),
  /** The same over names of methods the gateway does not know (`acme/*`), which pass untouched. Absent: none does. Known methods are not governed by it. */
  methods: strings.optional(),
  /** CEL conditions over `args`, `user` and `server` that a call of a matching tool has to meet as well. */
  rules: z.array(z.strictObject({ tools: strings.min(1), where: z.string().min(1) })).optional(),
})

const ruleSchema = z.strictObject({
  resources: strings.min(1),
  verbs: z.array(z.enum(VERBS)).min(1),
  where: z.string().optional(),
  actions: strings.optional(),
})
export type Rule = z.infer<typeof ruleSchema>

const conditionsSchema = z.strictObject({
  app_labels: selectorSchema.optional(),
  app_labels_expression: z.string().optional(),
  mcp: mcpSchema.optional(),
  /** Databases, by their labels; nothing without `db_users` and `db_names` of the same role. */
  db_labels: selectorSchema.optional(),
  db_labels_expression: z.string().optional(),
  /** Database users to connect as: literal names, globs, regexes, templates (`{{internal.db_users}}`). */
  db_users: strings.optional(),
  /** Databases inside the database server, in the same forms. */
  db_names: strings.optional(),
  /** Workload identities, by their labels: SPIFFE IDs that bearers may be given. */
  workload_identity_labels: selectorSchema.optional(),
  workload_identity_labels_expression: z.string().optional(),
  rules: z.array(ruleSchema).optional(),
  request: kept,
  review_requests: kept,
  impersonate: kept,
  logins: kept,
  node_labels: kept,
  node_labels_expression: kept,
  db_roles: kept,
  db_service_labels: kept,
  db_permissions: kept,
  kubernetes_labels: kept,
  kubernetes_labels_expression: kept,
  kubernetes_groups: kept,
  kubernetes_users: kept,
  kubernetes_resources: kept,
  cluster_labels: kept,
  cluster_labels_expression: kept,
  windows_desktop_labels: kept,
  windows_desktop_labels_expression: kept,
  windows_desktop_logins: kept,
  desktop_groups: kept,
  host_groups: kept,
  host_sudoers: kept,
  join_sessions: kept,
  require_session_join: kept,
  aws_role_arns: kept,
  azure_identities: kept,
  gcp_service_accounts: kept,
  group_labels: kept,
  group_labels_expression: kept,
  github_permissions: kept,
  spiffe: kept,
  account_assignments: kept,
})
export type Conditions = z.infer<typeof conditionsSchema>

const optionsSchema = z.looseObject({
  max_session_ttl: duration.optional(),
  client_idle_timeout: duration.optional(),
  disconnect_expired_cert: z.boolean().optional(),
  require_session_mfa: sessionMfaSchema.optional(),
  lock: z.enum(['strict', 'best_effort']).optional(),
  max_connections: z.int().min(0).optional(),
  max_sessions: z.int().min(0).optional(),
})

const specSchema = z.strictObject({
  options: optionsSchema.optional(),
  allow: conditionsSchema.optional(),
  deny: conditionsSchema.optional(),
})

export const roleSchema = resourceSchema('role', ['v3', 'v4', 'v5', 'v6', 'v7', 'v8'], specSchema)
  .superRefine((role, context) => {
    if (SYSTEM_ROLES.some((name) => name === role.metadata.name))
      context.addIssue({ code: 'custom', path: ['metadata', 'name'], message: `"${role.metadata.name}" is a reserved role name` })
  })
  .transform((role) => {
    // v3 opened everything unless told otherwise; later versions open nothing.
    if (role.version !== 'v3' || role.spec.allow?.app_labels) return role
    return { ...role, spec: { ...role.spec, allow: { ...role.spec.allow, app_labels: { '*': '*' } } } }
  })
export type Role = z.infer<typeof roleSchema>

import { z } from 'zod'

export const OUTCOMES = ['success', 'failure', 'denied', 'interrupted'] as const
export type Outcome = (typeof OUTCOMES)[number]

const text = z.string().optional()
const texts = z.array(z.string()).optional()
const count = z.number().optional()
/** Structured and of the caller's making: redacted and capped, its shape is not ours to know. */
const foreign = z.unknown().optional()

/** Every field an event can carry beside its head. Which type carries which, and how secret each is, says `events.ts`. */
export const eventFieldsSchema = z.object({
  // who
  user: text,
  /** 1 a person, 2 a bot; hosts have none. */
  user_kind: count,
  user_roles: texts,
  user_traits: foreign,
  with_mfa: text,
  impersonator: text,
  bot_name: text,
  bot_instance_id: text,
  /** The token's name, or what stands for it where the name is a secret. */
  join_token: text,
  join_method: text,
  access_requests: texts,
  credential: z.object({ kind: z.string(), id: z.string() }).optional(),
  /** IP address, with port where known. */
  remote_addr: text,

  // where
  sid: text,
  namespace: text,
  /** Id of the agent, not of the MCP server. */
  server_id: text,
  server_version: text,
  /** Name of the MCP server; `app_name` is the same for tools that read Teleport's log. */
  server: text,
  app_name: text,
  app_uri: text,
  mcp_session_id: text,
  /** `name/version`, as the other side calls itself. */
  client_info: text,
  server_info: text,
  protocol_version: text,
  egress_auth_type: text,

  // what
  message: z.object({ jsonrpc: text, method: text, id: text, params: foreign }).optional(),
  tool: text,
  headers: foreign,
  path: text,
  method: text,
  raw_query: text,
  body: foreign,

  /** Name of the database as registered; of the database inside its server is `db_name`. */
  db_service: text,
  db_protocol: text,
  db_uri: text,
  db_name: text,
  db_user: text,
  db_query: text,
  /** Rows of the answer, or rows that a statement changed. */
  db_rows: count,

  // how it went
  success: z.boolean().optional(),
  error: text,
  outcome: z.enum(OUTCOMES).optional(),
  decision: z.object({ allow: z.boolean(), by: z.string().nullable().optional(), kind: text, reason: text }).optional(),
  reason: text,
  latency_ms: count,
  result_bytes: count,
  /** What is worth keeping of the answer. */
  answer: foreign,

  // administration
  kind: text,
  name: text,
  verb: text,
  roles: texts,
  servers: texts,
  labels: z.record(z.string(), z.string()).optional(),
  /** RFC 3339. */
  expires: text,
  /** Of a lock: target → value. */
  target: z.record(z.string(), z.string()).optional(),
  hostname: text,
  generation: count,
  /** What an identity provider says of a workload that joins. */
  attributes: foreign,
  /** By which a person signed in elsewhere. */
  connector: text,
  /** The second factor that was proved. */
  mfa_device: z.object({ mfa_device_name: z.string(), mfa_device_uuid: z.string(), mfa_device_type: z.string() }).optional(),
  mfa_device_name: text,
  mfa_device_uuid: text,
  /** `TOTP` or `WebAuthn`. */
  mfa_device_type: text,
  cert_type: text,
  // workloads
  spiffe_id: text,
  /** `x509` or `jwt`. */
  svid_type: text,
  hint: text,
  jti: text,
  audiences: texts,
  dns_sans: texts,
  serial: text,
  token_id: text,
  // OAuth
  client_id: text,
  client_name: text,
  redirect_uris: texts,
  grant_id: text,
  grant_type: text,
  /** Where a token is worth something. */
  resource: text,
  scope: text,
  revision: text,
  version: text,
})
export type EventFields = z.infer<typeof eventFieldsSchema>
export type FieldName = keyof EventFields

/** An audit event as it is stored, sent and searched: flat, snake_case, the field names of Teleport's log where it has one. */
export const auditEventSchema = eventFieldsSchema.extend({
  event: z.string(),
  code: z.string(),
  /** RFC 3339 with milliseconds, UTC. */
  time: z.iso.datetime(),
  uid: z.string().min(1).max(64),
  /** Place within its MCP session, from 0. */
  ei: z.int().min(0),
  cluster_name: z.string(),
  /** Fields that were left out because the event was larger than `MAX_EVENT_BYTES`. */
  truncated: texts,
})
export type AuditEvent = z.infer<typeof auditEventSchema>

/** A JSON-RPC request id as audit text: `int64:3`, `string:x`; a string is cut at 256 characters. */
export function renderRequestId(id: string | number | null | undefined): string {
  if (typeof id === 'string') return `string:${id.slice(0, 256)}`
  if (typeof id === 'number') return Number.isInteger(id) ? `int64:${id}` : `float64:${id}`
  return 'null'
}

// The fields that events have in common, and how secret each is: see `FieldClass` of events.ts.

/** Who did it and how it went, as every event tells. */
export const CALLER = {
  user: 'public',
  user_kind: 'public',
  user_roles: 'public',
  user_traits: 'sensitive',
  with_mfa: 'public',
  impersonator: 'public',
  bot_name: 'public',
  bot_instance_id: 'public',
  join_token: 'public',
  join_method: 'public',
  access_requests: 'public',
  credential: 'public',
  remote_addr: 'public',
  success: 'public',
  error: 'sensitive',
  outcome: 'public',
  decision: 'public',
  reason: 'sensitive',
} as const

export const SESSION = {
  ...CALLER,
  sid: 'public',
  namespace: 'public',
  server_id: 'public',
  server_version: 'public',
  server: 'public',
  app_name: 'public',
  app_uri: 'sensitive',
  mcp_session_id: 'public',
  client_info: 'public',
  server_info: 'public',
  protocol_version: 'public',
  egress_auth_type: 'public',
  headers: 'sensitive',
  latency_ms: 'public',
} as const

export const MESSAGE = { ...SESSION, message: 'sensitive', tool: 'public', result_bytes: 'public', answer: 'sensitive' } as const
/** Of something that has a name. */
export const NAMED = { ...CALLER, name: 'public', kind: 'public', expires: 'public', revision: 'public', labels: 'public' } as const
export const DATABASE = { ...NAMED, db_protocol: 'public', db_uri: 'sensitive' } as const
export const DATABASE_SESSION = {
  ...SESSION,
  db_service: 'public',
  db_protocol: 'public',
  db_uri: 'sensitive',
  db_name: 'public',
  db_user: 'public',
} as const
/** Of somebody who has roles. */
export const ACCOUNT = { ...NAMED, roles: 'public', connector: 'public' } as const
/** With the join method `token` the name is the secret itself. */
export const JOIN_TOKEN = { ...CALLER, name: 'secret', roles: 'public', expires: 'public', revision: 'public' } as const
export const JOIN = {
  ...CALLER,
  name: 'public',
  server_id: 'public',
  hostname: 'public',
  roles: 'public',
  generation: 'public',
  serial: 'public',
  expires: 'public',
  attributes: 'sensitive',
} as const
export const LOCK = { ...NAMED, target: 'public' } as const
export const API_TOKEN = { ...CALLER, name: 'public', token_id: 'public', servers: 'public', roles: 'public', expires: 'public' } as const

export const SVID = {
  ...CALLER,
  name: 'public',
  spiffe_id: 'public',
  svid_type: 'public',
  hint: 'public',
  serial: 'public',
  jti: 'public',
  audiences: 'public',
  dns_sans: 'public',
  expires: 'public',
} as const

export const OAUTH_CLIENT = {
  ...CALLER,
  client_id: 'public',
  client_name: 'sensitive',
  redirect_uris: 'sensitive',
  connector: 'public',
} as const
export const OAUTH_GRANT = {
  ...OAUTH_CLIENT,
  name: 'public',
  grant_id: 'public',
  resource: 'public',
  scope: 'public',
  expires: 'public',
} as const

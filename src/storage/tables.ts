import type { EventColumns } from '../audit/event-text.ts'

/** Columns as the store returns them. Times are milliseconds since 1970; `document` and lists are JSON text. */
export interface Tables {
  migrations: { version: number; name: string }
  counters: { name: string; value: number }
  resources: {
    kind: string
    name: string
    revision: string
    expires_at: number | null
    document: string
    updated_at: number
    change_seq: number
  }
  secrets: { name: string; sealed: string }
  accounts: { user: string; id: string }
  local_credentials: { user: string; password_hash: string; updated_at: number }
  invites: { token_hash: string; user: string; purpose: string; expires_at: number; created_at: number }
  login_flows: { id: string; address: string; user: string | null; document: string; created_at: number; expires_at: number }
  mfa_devices: {
    id: string
    user: string
    name: string
    type: 'totp' | 'webauthn'
    credential_id: string | null
    document: string
    counter: number
    created_at: number
    last_used_at: number | null
  }
  api_tokens: {
    id: string
    user: string
    name: string
    hash: string
    servers: string | null
    roles: string | null
    created_at: number
    created_by: string
    expires_at: number
    last_used_at: number | null
  }
  mcp_names: { what: 'tool' | 'prompt'; server: string; original: string; exposed: string; folded: string; created_at: number }
  mcp_sessions: { name: string; owner: string; body: string; revision: number; updated_at: number; expires_at: number }
  oauth_records: {
    kind: string
    id: string
    lookup: string | null
    grant_id: string | null
    account: string | null
    client_id: string | null
    document: string
    created_at: number
    expires_at: number | null
    consumed_at: number | null
  }
  upstream_records: {
    kind: string
    id: string
    account: string | null
    app: string
    document: string
    created_at: number
    expires_at: number | null
  }
  events: EventColumns & {
    seq: number
    prev_hash: string
    hash: string
    document: string
  }
  changes: { seq: number; type: 'put' | 'delete' | 'revoked'; kind: string; name: string; at: number }
  used_ids: { id: string; expires_at: number }
  leases: { name: string; holder: string; expires_at: number }
  attempts: { key: string; count: number; expires_at: number }
  event_anchor: { id: number; seq: number; hash: string }
}

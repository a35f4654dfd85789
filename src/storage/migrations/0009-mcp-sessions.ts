import type { Migration } from './migration.ts'

/** What several proxies have to know of one session at the one URL, and what one has for another: sealed by them. */
export const mcpSessions: Migration = {
  version: 9,
  name: 'mcp sessions',
  statements: [
    `create table mcp_sessions (
      name text primary key,
      owner text not null,
      body text not null,
      revision bigint not null,
      updated_at bigint not null,
      expires_at bigint not null
    )`,
    `create index mcp_sessions_owner on mcp_sessions (owner, updated_at)`,
    `create index mcp_sessions_expires_at on mcp_sessions (expires_at)`,
  ],
}

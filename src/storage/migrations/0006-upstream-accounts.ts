import type { Migration } from './migration.ts'

/** What the cluster holds as an OAuth client of MCP servers: accounts of users, sign-ins under way, its own registrations. Documents are sealed. */
export const upstreamAccounts: Migration = {
  version: 6,
  name: 'upstream accounts',
  statements: [
    `create table upstream_records (
      kind text not null,
      id text not null,
      account text,
      app text not null,
      document text not null,
      created_at bigint not null,
      expires_at bigint,
      primary key (kind, id)
    )`,
    `create index upstream_records_account on upstream_records (account, app)`,
    `create index upstream_records_app on upstream_records (app)`,
  ],
}

import type { Migration } from './migration.ts'

/**
 * What the authorization server remembers: clients, sign-ins, grants, codes and tokens. Ids are secrets in most kinds, so their hashes stand
 * here, and the documents are sealed.
 */
export const oauth: Migration = {
  version: 5,
  name: 'oauth',
  statements: [
    `create table oauth_records (
      kind text not null,
      id text not null,
      lookup text,
      grant_id text,
      account text,
      client_id text,
      document text not null,
      created_at bigint not null,
      expires_at bigint,
      consumed_at bigint,
      primary key (kind, id)
    )`,
    `create index oauth_records_lookup on oauth_records (kind, lookup)`,
    `create index oauth_records_grant on oauth_records (grant_id)`,
    `create index oauth_records_account on oauth_records (account)`,
    `create index oauth_records_client on oauth_records (client_id)`,
    `create index oauth_records_expires_at on oauth_records (expires_at)`,
  ],
}

import type { Migration } from './migration.ts'

/** What the processes of one cluster tell each other: changes in their order, ids that are good once, and who does something alone. */
export const changes: Migration = {
  version: 7,
  name: 'changes',
  statements: [
    `create table changes (
      seq bigint primary key,
      type text not null check (type in ('put', 'delete', 'revoked')),
      kind text not null,
      name text not null,
      at bigint not null
    )`,
    `create index changes_at on changes (at)`,
    `create table used_ids (id text primary key, expires_at bigint not null)`,
    `create index used_ids_expires_at on used_ids (expires_at)`,
    `create table leases (name text primary key, holder text not null, expires_at bigint not null)`,
    `create table attempts (key text primary key, count bigint not null, expires_at bigint not null)`,
    `create index attempts_expires_at on attempts (expires_at)`,
  ],
}

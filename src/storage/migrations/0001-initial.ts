import type { Migration } from './migration.ts'

export const initial: Migration = {
  version: 1,
  name: 'initial',
  statements: [
    `create table counters (name text primary key, value bigint not null)`,
    `insert into counters (name, value) values ('change_seq', 0)`,

    `create table resources (
      kind text not null,
      name text not null,
      revision text not null,
      expires_at bigint,
      document text not null,
      updated_at bigint not null,
      change_seq bigint not null,
      primary key (kind, name)
    )`,
    `create index resources_expires_at on resources (expires_at) where expires_at is not null`,

    `create table secrets (name text primary key, sealed text not null)`,

    `create table local_credentials (
      "user" text primary key,
      password_hash text not null,
      totp_sealed text,
      updated_at bigint not null
    )`,
    `create table invites (
      token_hash text primary key,
      "user" text not null,
      purpose text not null check (purpose in ('signup', 'reset')),
      expires_at bigint not null,
      created_at bigint not null
    )`,
    `create index invites_user on invites ("user")`,
    `create table login_flows (id text primary key, document text not null, expires_at bigint not null)`,
    `create index login_flows_expires_at on login_flows (expires_at)`,
    `create table used_codes ("user" text not null, code_counter bigint not null, primary key ("user", code_counter))`,

    `create table api_tokens (
      id text primary key,
      "user" text not null,
      name text not null,
      hash text not null,
      servers text,
      roles text,
      created_at bigint not null,
      created_by text not null,
      expires_at bigint not null,
      last_used_at bigint
    )`,
    `create index api_tokens_user on api_tokens ("user")`,
    `create index api_tokens_expires_at on api_tokens (expires_at)`,

    `create table events (
      seq integer primary key,
      uid text not null unique,
      time bigint not null,
      type text not null,
      code text not null,
      "user" text,
      server text,
      tool text,
      outcome text,
      sid text,
      prev_hash text not null,
      hash text not null,
      document text not null
    )`,
    `create index events_time on events (time)`,
    `create index events_type on events (type, seq)`,
    `create index events_user on events ("user", seq)`,
    `create index events_server on events (server, seq)`,
    `create index events_tool on events (tool, seq)`,
    `create index events_outcome on events (outcome, seq)`,
    `create table event_anchor (id integer primary key check (id = 1), seq bigint not null, hash text not null)`,
  ],
}

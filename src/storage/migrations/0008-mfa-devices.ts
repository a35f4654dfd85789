import type { Migration } from './migration.ts'

/**
 * Second factors by device, of which a user may have several; the one that stood beside the password becomes the first, with the last code
 * that was used. Sign-ins under way say whence they come; those of now end.
 */
export const mfaDevices: Migration = {
  version: 8,
  name: 'mfa devices',
  statements: [
    `create table mfa_devices (
      id text primary key,
      "user" text not null,
      name text not null,
      type text not null check (type in ('totp', 'webauthn')),
      credential_id text unique,
      document text not null,
      counter bigint not null,
      created_at bigint not null,
      last_used_at bigint,
      unique ("user", name)
    )`,
    `insert into mfa_devices (id, "user", name, type, document, counter, created_at)
      select 'totp-' || "user", "user", 'otp', 'totp', totp_sealed,
        coalesce((select max(code_counter) from used_codes where used_codes."user" = local_credentials."user"), 0), updated_at
      from local_credentials where totp_sealed is not null`,
    `alter table local_credentials drop column totp_sealed`,
    `drop table used_codes`,
    `drop table login_flows`,
    `create table login_flows (
      id text primary key,
      address text not null,
      "user" text,
      document text not null,
      created_at bigint not null,
      expires_at bigint not null
    )`,
    `create index login_flows_address on login_flows (address)`,
    `create index login_flows_user on login_flows ("user")`,
    `create index login_flows_expires_at on login_flows (expires_at)`,
  ],
}

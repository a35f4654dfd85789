import type { Migration } from './migration.ts'

/** Which certificates of a user count: those that carry the id. */
export const accounts: Migration = {
  version: 2,
  name: 'accounts',
  statements: [
    `create table accounts ("user" text primary key, id text not null)`,
    {
      sqlite: `insert into accounts ("user", id) select name, lower(hex(randomblob(16))) from resources where kind = 'user'`,
      postgresql: `insert into accounts ("user", id) select name, replace(gen_random_uuid()::text, '-', '') from resources where kind = 'user'`,
    },
  ],
}

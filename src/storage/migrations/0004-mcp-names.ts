import type { Migration } from './migration.ts'

/** Under which name a tool or prompt of a server stands among those of all servers: given once, kept for good. */
export const mcpNames: Migration = {
  version: 4,
  name: 'mcp-names',
  statements: [
    `create table mcp_names (
      what text not null check (what in ('tool', 'prompt')),
      server text not null,
      original text not null,
      exposed text not null,
      folded text not null,
      created_at bigint not null,
      primary key (what, server, original)
    )`,
    `create unique index mcp_names_folded on mcp_names (what, folded)`,
  ],
}

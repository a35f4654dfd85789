import { AppError } from '../lib/errors.ts'
import { initial } from './migrations/0001-initial.ts'
import { accounts } from './migrations/0002-accounts.ts'
import { eventIndexes } from './migrations/0003-event-indexes.ts'
import { mcpNames } from './migrations/0004-mcp-names.ts'
import { oauth } from './migrations/0005-oauth.ts'
import { upstreamAccounts } from './migrations/0006-upstream-accounts.ts'
import { changes } from './migrations/0007-changes.ts'
import { renderStatement } from './migrations/migration.ts'
import type { Migration, StoreType } from './migrations/migration.ts'
import { mfaDevices } from './migrations/0008-mfa-devices.ts'
import { mcpSessions } from './migrations/0009-mcp-sessions.ts'

const MIGRATIONS: readonly Migration[] = [
  initial,
  accounts,
  eventIndexes,
  mcpNames,
  oauth,
  upstreamAccounts,
  changes,
  mfaDevices,
  mcpSessions,
]

/**
 * What brings a schema of this version up to date: statements in order, each step with the note that it was made. Run all or none.
 * Throws `failed_precondition` when the schema is of a newer version.
 * @param version 0 for one that is empty but for the table `migrations`.
 */
export function missingStatements(version: number, type: StoreType, migrations: readonly Migration[] = MIGRATIONS): string[] {
  const newest = migrations.at(-1)?.version ?? 0
  if (version > newest)
    throw new AppError(
      'failed_precondition',
      `the database is of a newer Sallyport (schema ${version}, this one knows ${newest}): start that version or a newer one`,
    )
  return migrations
    .filter((step) => step.version > version)
    .flatMap((step) => [
      ...step.statements.map((statement) => renderStatement(statement, type)),
      `insert into migrations (version, name) values (${step.version}, '${step.name}')`,
    ])
}

export const CREATE_MIGRATIONS = 'create table migrations (version integer primary key, name text not null)'
export const NEWEST_MIGRATION = 'select coalesce(max(version), 0) as version from migrations'

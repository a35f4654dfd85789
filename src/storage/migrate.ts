import type { DatabaseSync } from 'node:sqlite'
import { z } from 'zod'
import { AppError } from '../lib/errors.ts'
import { initial } from './migrations/0001-initial.ts'
import { accounts } from './migrations/0002-accounts.ts'
import { eventIndexes } from './migrations/0003-event-indexes.ts'
import { mcpNames } from './migrations/0004-mcp-names.ts'
import { oauth } from './migrations/0005-oauth.ts'
import { upstreamAccounts } from './migrations/0006-upstream-accounts.ts'
import { changes } from './migrations/0007-changes.ts'
import type { Migration } from './migrations/migration.ts'

const MIGRATIONS: readonly Migration[] = [initial, accounts, eventIndexes, mcpNames, oauth, upstreamAccounts, changes]

/**
 * Brings the schema up to date, each step whole or not at all; safe when several processes do it at once.
 * Throws `failed_precondition` for a database of a newer version or of something else.
 */
export function migrate(connection: DatabaseSync, migrations: readonly Migration[] = MIGRATIONS): void {
  connection.exec('begin immediate')
  try {
    const version = readVersion(connection)
    const newest = migrations.at(-1)?.version ?? 0
    if (version > newest)
      throw new AppError(
        'failed_precondition',
        `the database is of a newer Sallyport (schema ${version}, this one knows ${newest}): start that version or a newer one`,
      )
    for (const migration of migrations.filter((step) => step.version > version)) {
      for (const statement of migration.statements) connection.exec(statement)
      connection.prepare('insert into migrations (version, name) values (?, ?)').run(migration.version, migration.name)
    }
    connection.exec('commit')
  } catch (cause) {
    connection.exec('rollback')
    throw cause
  }
}

function readVersion(connection: DatabaseSync): number {
  const tables = z
    .array(z.object({ name: z.string() }))
    .parse(connection.prepare(`select name from sqlite_schema where type = 'table'`).all())
  if (tables.length === 0) {
    connection.exec('create table migrations (version integer primary key, name text not null)')
    return 0
  }
  if (!tables.some(({ name }) => name === 'migrations'))
    throw new AppError('failed_precondition', 'the file is a database of another program')
  const newest = connection.prepare('select coalesce(max(version), 0) as version from migrations').get()
  return z.object({ version: z.number() }).parse(newest).version
}

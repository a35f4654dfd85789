import { AppError } from '../lib/errors.ts'
import { connect, endClient } from './postgres.ts'
import { parseConnString, renderAddress } from './postgres-address.ts'
import { toPostgresError } from './postgres-errors.ts'

/** Of this user to this database, under the name that our processes give themselves; those in another schema of it too. */
const OTHERS = `select count(*)::int as count from pg_stat_activity
  where datname = current_database() and usename = current_user and pid <> pg_backend_pid()
    and application_name = current_setting('application_name')`

/** How many connections processes of ours have there. Throws as `openPostgres` when it cannot be asked. */
export async function countConnections(connString: string): Promise<number> {
  const address = parseConnString(connString)
  try {
    const client = await connect(address)
    try {
      return (await client.query<{ count: number }>(OTHERS)).rows[0]?.count ?? 0
    } finally {
      await endClient(client)
    }
  } catch (cause) {
    const failure = toPostgresError(cause)
    throw new AppError(failure.code, `cannot use the ${renderAddress(address)}: ${failure.message}`, { cause })
  }
}

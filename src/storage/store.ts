import { AppError } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import type { ChangeListener } from './changes.ts'
import type { Database } from './database.ts'
import type { EventAppender } from './event-appender.ts'
import type { StoreType } from './migrations/migration.ts'
import { openSqliteAppender } from './sqlite-appender.ts'
import { openSqlite } from './sqlite.ts'

/** Where the store is: a path (or `:memory:`), or a connection string, which may hold a password and is for no message. */
export interface StoreLocation {
  type: StoreType
  at: string
}

// The driver of PostgreSQL is loaded by those who need it.

/** Opens the store and brings its schema up to date; throws as `openSqlite` and `openPostgres` do. */
export async function openStore({ type, at }: StoreLocation, log: Logger): Promise<Database> {
  if (type === 'sqlite') return openSqlite(at)
  const { openPostgres } = await import('./postgres.ts')
  return openPostgres(at, log)
}

/** Whether the store could not be opened because it is away for now, so that it may be there in a while; never true of a file. */
export function isAway(thrown: unknown): boolean {
  return thrown instanceof AppError && (thrown.details?.['away'] === true || isAway(thrown.cause))
}

/** How many connections others have to the store now, as far as that can be seen; of a file nobody can tell, which is locked by who uses it. */
export async function countOthers({ type, at }: StoreLocation): Promise<number> {
  if (type === 'sqlite') return 0
  const { countConnections } = await import('./postgres-connections.ts')
  return await countConnections(at)
}

/** Opens it for appending to the chain of `cluster`, once `openStore` was there. */
export async function openEventAppender({ type, at }: StoreLocation, cluster: string): Promise<EventAppender> {
  if (type === 'sqlite') return openSqliteAppender(at, cluster)
  const { openPostgresAppender } = await import('./postgres-appender.ts')
  return openPostgresAppender(at, cluster)
}

/** Calls `wake` soon after another process changed something, as well as that can be; of a file nobody tells. */
export async function openChangeListener({ type, at }: StoreLocation, wake: () => void, log: Logger): Promise<ChangeListener> {
  if (type === 'sqlite') return { close: async () => {} }
  const { openPostgresListener } = await import('./postgres-listener.ts')
  return openPostgresListener(at, wake, log)
}

import type { App } from '../../resources/app.ts'
import { databaseApp, findDatabaseName } from '../../resources/db-app.ts'
import type { Database } from '../../resources/db.ts'
import type { AuthContext } from './context.ts'
import { listAppOffers, listDatabaseOffers } from './offers.ts'

/** Every registration of that name: agents that offer it now, and the app itself; for the MCP server of a database, those of the database. */
export function findApps(context: Pick<AuthContext, 'live'>, name: string): App[] {
  const database = findDatabaseName(name)
  if (database !== undefined) return findDatabases(context, database).map(databaseApp)
  const offered = listAppOffers(context)
    .map((server) => server.spec.app)
    .filter((app) => app.metadata.name === name)
  const registered = context.live.find('app', name)
  return registered ? [...offered, registered] : offered
}

/** The names of all that `findApps` finds, databases aside; some more than once. */
export function listAppNames(context: Pick<AuthContext, 'live'>): string[] {
  return [...listAppOffers(context).map((server) => server.spec.app), ...context.live.list('app')].map(({ metadata }) => metadata.name)
}

function findDatabases(context: Pick<AuthContext, 'live'>, name: string): Database[] {
  const offered = listDatabaseOffers(context)
    .map((server) => server.spec.database)
    .filter((database) => database.metadata.name === name)
  const registered = context.live.find('db', name)
  return registered ? [...offered, registered] : offered
}

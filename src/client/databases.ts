import { listVisibleDatabases } from '../api/databases.ts'
import type { VisibleDatabase } from '../api/databases.ts'
import type { ApiClient } from './call.ts'

export type UsableDatabase = VisibleDatabase

/** The databases the caller may reach now, by name, with the users and names that roles list. */
export async function fetchDatabases(api: ApiClient): Promise<UsableDatabase[]> {
  return (await api(listVisibleDatabases, {})).items
}

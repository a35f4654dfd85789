import { AppError } from '../lib/errors.ts'

/** Which database of which cluster, as which user of it and inside of it by which name. */
export interface DatabaseUri {
  cluster: string
  database: string
  user?: string
  name?: string
}

/** `teleport://clusters/CLUSTER/databases/DB?dbUser=U&dbName=D`, as MCP clients write it. */
export function renderDatabaseUri({ cluster, database, user, name }: DatabaseUri): string {
  const query = new URLSearchParams({ ...(user !== undefined && { dbUser: user }), ...(name !== undefined && { dbName: name }) }).toString()
  return `teleport://clusters/${encodeURIComponent(cluster)}/databases/${encodeURIComponent(database)}${query && `?${query}`}`
}

/** @throws AppError invalid_argument for anything else. */
export function parseDatabaseUri(uri: string): DatabaseUri {
  const url = URL.parse(uri)
  const [, cluster, database] = (/^\/([^/]+)\/databases\/([^/]+)$/.exec(url?.pathname ?? '') ?? []).map(decode)
  if (url?.protocol !== 'teleport:' || url.host !== 'clusters' || !cluster || !database)
    throw new AppError('invalid_argument', 'this is not the URI of a database: teleport_list_databases lists the ones you may use')
  const user = url.searchParams.get('dbUser')
  const name = url.searchParams.get('dbName')
  return { cluster, database, ...(user && { user }), ...(name && { name }) }
}

/** Empty for an escape that no URI of ours has. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return ''
  }
}

import { AppError } from '../../../lib/errors.ts'
import { createInProcessUpstream } from '../../../mcp/upstream/in-process.ts'
import type { Upstream } from '../../../mcp/upstream/upstream.ts'
import type { Database } from '../../../resources/db.ts'
import { buildDatabaseServer } from './mcp-server.ts'
import { Queries, type QueryDeps } from './queries.ts'

/** The MCP server of a database, inside the agent. Nothing is connected before somebody asks. */
export function createDatabaseUpstream(database: Database, deps: QueryDeps & { version: string }): Upstream {
  return createInProcessUpstream(({ session }) => {
    if (!session) throw new AppError('internal', 'the session of a database needs to know whose it is')
    const queries = new Queries(deps, database, session)
    const { clusterName, version } = deps
    return {
      build: (sdk, current) => buildDatabaseServer(sdk, current, { clusterName, database, queries, version }),
      close: async () => queries.close(),
    }
  })
}

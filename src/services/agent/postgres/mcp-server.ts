import type { CallToolResult, McpServer } from '@modelcontextprotocol/server'
import { z } from 'zod'
import type { DatabaseSession } from '../../../access/check-database.ts'
import { AppError, toAppError } from '../../../lib/errors.ts'
import type { CurrentRequest, Sdk } from '../../../mcp/upstream/in-process.ts'
import { parseDatabaseUri, renderDatabaseUri } from '../../../resources/database-uri.ts'
import type { Database } from '../../../resources/db.ts'
import type { Queries } from './queries.ts'
import type { StatementResult } from './session.ts'

interface Options {
  clusterName: string
  database: Database
  queries: Queries
  version: string
}

/** The MCP server of one database, as the caller of this moment sees it; tools, arguments and results are those of Teleport's. */
export function buildDatabaseServer(
  sdk: Sdk,
  current: () => CurrentRequest,
  { clusterName, database, queries, version }: Options,
): McpServer {
  const { mcp } = database.spec
  const server = new sdk.McpServer({ name: 'teleport-databases', version })
  const annotations = { readOnlyHint: mcp.read_only, destructiveHint: !mcp.read_only, openWorldHint: false }
  const describe = () => describeDatabase(clusterName, database, queries.choices(current().caller))

  server.registerTool(
    'teleport_list_databases',
    {
      title: 'List databases',
      description: 'Lists the databases you may query, with the URI that teleport_postgres_query takes for each database user and name.',
      inputSchema: z.object({}),
      annotations: { readOnlyHint: true, openWorldHint: false },
    },
    () => asText(JSON.stringify({ databases: describe().entries })),
  )
  server.registerTool(
    'teleport_postgres_query',
    {
      title: 'Query a PostgreSQL database',
      description: [
        `Runs one SQL statement in a PostgreSQL database${mcp.read_only ? ', read-only' : ''}, and returns its rows as JSON.`,
        `At most ${mcp.max_rows} rows and ${mcp.max_bytes} bytes of them come back; "truncated" says that there were more.`,
      ].join(' '),
      inputSchema: z.object({
        database: z.string().describe('URI of the database, from teleport_list_databases'),
        query: z.string().describe('One SQL statement'),
      }),
      annotations,
    },
    async ({ database: uri, query }) => {
      try {
        const { signal, caller } = current()
        if (!caller) throw new AppError('internal', 'a statement came without a caller')
        const session = chooseSession(readUri(uri, clusterName, database), queries, caller)
        return asText(renderResult(await queries.run(caller, session, query, signal)))
      } catch (thrown) {
        const error = toAppError(thrown)
        if (error.code === 'internal' || error.code === 'cancelled') throw error
        return { ...asText(JSON.stringify({ results: null, error: error.message })), isError: true }
      }
    },
  )
  for (const { uri, ...about } of describe().entries)
    server.registerResource(uri, uri, { title: about.name, mimeType: 'application/json' }, () => ({
      contents: [{ uri, mimeType: 'application/json', text: JSON.stringify({ uri, ...about }) }],
    }))
  return server
}

interface Entry {
  uri: string
  name: string
  protocol: string
  description: string
  labels: Record<string, string>
  cluster_name: string
  db_user?: string
  db_name?: string
  /** Users and names that roles list, where they are patterns: any that match may stand in the URI. */
  db_users?: string[]
  db_names?: string[]
}

function describeDatabase(cluster: string, { metadata, spec }: Database, choices: ReturnType<Queries['choices']>): { entries: Entry[] } {
  const about = {
    name: metadata.name,
    protocol: spec.protocol,
    description: metadata.description ?? '',
    labels: metadata.labels ?? {},
    cluster_name: cluster,
  }
  const exact = choices.sessions.map((session) => ({
    uri: renderDatabaseUri({ cluster, database: metadata.name, ...session }),
    ...about,
    db_user: session.user,
    db_name: session.name,
  }))
  if (exact.length > 0) return { entries: exact }
  return {
    entries: [{ uri: renderDatabaseUri({ cluster, database: metadata.name }), ...about, db_users: choices.users, db_names: choices.names }],
  }
}

function readUri(uri: string, clusterName: string, { metadata }: Database): Partial<DatabaseSession> {
  const { cluster, database, ...session } = parseDatabaseUri(uri)
  if (cluster === clusterName && database === metadata.name) return session
  throw new AppError('invalid_argument', 'this is the URI of another database: teleport_list_databases lists the ones that are here')
}

/** What the URI leaves open is no question where roles leave one choice. */
function chooseSession(given: Partial<DatabaseSession>, queries: Queries, caller: CurrentRequest['caller']): DatabaseSession {
  const { user, name } = given
  if (user !== undefined && name !== undefined) return { user, name }
  const fitting = queries
    .choices(caller)
    .sessions.filter((session) => (user === undefined || session.user === user) && (name === undefined || session.name === name))
  const [only] = fitting
  if (only && fitting.length === 1) return only
  throw new AppError('invalid_argument', 'the URI has to name dbUser and dbName: teleport_list_databases lists the ones you may use')
}

function renderResult({ rows, hasRows, affected, command }: StatementResult): string {
  const truncated = rows.isFull ? `,"truncated":true` : ''
  const what = hasRows ? `"data":${rows.toJson()},"rows_count":${rows.count}` : `"data":[],"rows_count":${affected}`
  return `{"results":[{${what}${truncated}${hasRows || command === '' ? '' : `,"command":${JSON.stringify(command)}`}}]}`
}

function asText(text: string): CallToolResult {
  return { content: [{ type: 'text', text }] }
}

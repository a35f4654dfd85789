import type { Readable, Writable } from 'node:stream'
import type { CallToolResult, McpServer } from '@modelcontextprotocol/server'
import { z } from 'zod'
import { toAppError } from '../lib/errors.ts'
import { type DatabaseUri, parseDatabaseUri, renderDatabaseUri } from '../resources/database-uri.ts'
import type { UsableDatabase } from './databases.ts'
import type { CallAnswer } from './mcp-call.ts'

export interface DatabaseMcpOptions {
  /** Which databases are offered, each with user and name. */
  uris: readonly DatabaseUri[]
  /** The databases the caller may reach now. */
  describe(): Promise<UsableDatabase[]>
  /** Calls a tool of the MCP server of one database. */
  call(database: string, tool: string, args: Record<string, unknown>, signal: AbortSignal): Promise<CallAnswer>
  input: Readable
  output: Writable
  version: string
}

type Sdk = typeof import('@modelcontextprotocol/server')

/** Serves the databases of these URIs as one MCP server over stdio, until the input ends or the signal fires. */
export async function serveDatabases(options: DatabaseMcpOptions, signal: AbortSignal): Promise<void> {
  const sdk = await import('@modelcontextprotocol/server')
  const { serveStdio, StdioServerTransport } = await import('@modelcontextprotocol/server/stdio')
  const { input, output } = options
  const ended = new Promise<void>((resolve) => {
    for (const event of ['end', 'close', 'error']) input.once(event, () => resolve())
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
  const handle = serveStdio(() => buildServer(sdk, options), { transport: new StdioServerTransport(input, output) })
  await ended
  await handle.close()
}

function buildServer(sdk: Sdk, { uris, describe, call, version }: DatabaseMcpOptions): McpServer {
  const server = new sdk.McpServer({ name: 'teleport-databases', version })
  server.registerTool(
    'teleport_list_databases',
    {
      title: 'List databases',
      description: 'Lists the databases you may query, with the URI that teleport_postgres_query takes.',
      inputSchema: z.object({}),
      annotations: { readOnlyHint: true, openWorldHint: false },
    },
    () => answering(async () => asText(JSON.stringify({ databases: describeAll(uris, await describe()) }))),
  )
  server.registerTool(
    'teleport_postgres_query',
    {
      title: 'Query a PostgreSQL database',
      description: 'Runs one SQL statement in one of the databases, and returns its rows as JSON; "truncated" says that there were more.',
      inputSchema: z.object({
        database: z.string().describe('URI of the database, from teleport_list_databases'),
        query: z.string().describe('One SQL statement'),
      }),
      annotations: { openWorldHint: false },
    },
    ({ database: uri, query }, { mcpReq }) =>
      answering(async () => {
        const asked = parseDatabaseUri(uri)
        const wanted = renderDatabaseUri(asked)
        if (!uris.some((offered) => renderDatabaseUri(offered) === wanted))
          return asFailure(`${wanted} is not offered here: teleport_list_databases lists the databases that are`)
        const answer = await call(asked.database, 'teleport_postgres_query', { database: wanted, query }, mcpReq.signal)
        return 'error' in answer ? asFailure(answer.error.message) : readResult(answer.result)
      }),
  )
  for (const uri of uris.map(renderDatabaseUri))
    server.registerResource(uri, uri, { mimeType: 'application/json' }, async () => {
      const [about] = describeAll([parseDatabaseUri(uri)], await describe())
      return { contents: [{ uri, mimeType: 'application/json', text: JSON.stringify(about) }] }
    })
  return server
}

function describeAll(uris: readonly DatabaseUri[], databases: readonly UsableDatabase[]): Record<string, unknown>[] {
  return uris.map((uri) => {
    const found = databases.find(({ metadata }) => metadata.name === uri.database)
    return {
      uri: renderDatabaseUri(uri),
      name: uri.database,
      protocol: 'postgres',
      description: found?.metadata['description'] ?? '',
      labels: found?.metadata['labels'] ?? {},
      cluster_name: uri.cluster,
      ...(uri.user !== undefined && { db_user: uri.user }),
      ...(uri.name !== undefined && { db_name: uri.name }),
      ...(!found && { error: 'you may not use this database now: tsh db ls lists the ones you may' }),
    }
  })
}

/** Whatever fails, expired credentials among it, is for the model and the person to read. */
async function answering(make: () => Promise<CallToolResult>): Promise<CallToolResult> {
  try {
    return await make()
  } catch (thrown) {
    return asFailure(toAppError(thrown).message)
  }
}

const resultSchema = z.object({
  content: z.array(z.object({ type: z.literal('text'), text: z.string() })),
  isError: z.boolean().optional(),
})

function readResult(result: Record<string, unknown>): CallToolResult {
  const read = resultSchema.safeParse(result)
  if (!read.success) return asFailure('the MCP server of the database gave an answer that cannot be read')
  const { content, isError } = read.data
  return { content, ...(isError === true && { isError }) }
}

function asText(text: string): CallToolResult {
  return { content: [{ type: 'text', text }] }
}

function asFailure(error: string): CallToolResult {
  return { ...asText(JSON.stringify({ results: null, error })), isError: true }
}

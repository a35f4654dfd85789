import { serveDatabases } from '../../client/database-mcp.ts'
import { fetchDatabases } from '../../client/databases.ts'
import { callTool } from '../../client/mcp-call.ts'
import { createMcpEndpoint } from '../../client/mcp-endpoint.ts'
import { AppError } from '../../lib/errors.ts'
import { sanitizeTerminal } from '../../lib/output.ts'
import { type DatabaseUri, parseDatabaseUri, renderDatabaseUri } from '../../resources/database-uri.ts'
import { databaseServerName } from '../../resources/db-app.ts'
import { withConnection } from './context.ts'
import type { Context } from './context.ts'
import { pause } from '../../lib/pause.ts'

/** Beyond the longest statement timeout that a database can have. */
const TIMEOUT_MS = 3_700_000

/** Standard output carries MCP messages and nothing else. */
export async function run(context: Context): Promise<number> {
  const { call, io, now } = context
  const version = io.version ?? 'dev'
  const log = (line: string): void => void io.stderr.write(`${sanitizeTerminal(line)}\n`)
  const uris = parseUris(call.rest('uris'))
  await serveDatabases(
    {
      uris,
      describe: () => withConnection(context, ({ api }) => fetchDatabases(api)),
      call: (database, tool, args, signal) =>
        callTool({
          endpoint: createMcpEndpoint({ server: databaseServerName(database), open: context.connect, now }),
          tool,
          args,
          clientVersion: version,
          timeoutMs: TIMEOUT_MS,
          signal,
          wait: pause,
          log,
        }),
      input: io.stdin,
      output: io.stdout,
      version,
    },
    call.signal,
  )
  return call.signal.aborted ? 130 : 0
}

function parseUris(texts: readonly string[]): DatabaseUri[] {
  const uris = texts.map((text) => {
    const uri = parseDatabaseUri(text)
    if (uri.user === undefined || uri.name === undefined)
      throw new AppError('invalid_argument', `${text} has to name dbUser and dbName: tsh mcp db config writes such a URI`)
    return uri
  })
  if (new Set(uris.map(renderDatabaseUri)).size < uris.length) throw new AppError('invalid_argument', 'a database is named twice')
  if (new Set(uris.map(({ cluster }) => cluster)).size > 1)
    throw new AppError('invalid_argument', 'all databases have to be of one cluster')
  return uris
}

import { resolve } from 'node:path'
import { fetchCaller } from '../../client/admin.ts'
import { fetchDatabases } from '../../client/databases.ts'
import { AppError } from '../../lib/errors.ts'
import { sanitizeTerminal } from '../../lib/output.ts'
import { type DatabaseUri, parseDatabaseUri, renderDatabaseUri } from '../../resources/database-uri.ts'
import { findEntry, updateClientConfig } from '../../services/desktop/installers/client-config.ts'
import { FORMATS, readEntry, type StdioEntry } from '../../services/desktop/installers/clients.ts'
import { withConnection } from './context.ts'
import type { Context } from './context.ts'
import { CLIENTS, readFormat, readJsonFormat, targetOf, writeSample } from './mcp-config.ts'

/** The one entry for all databases of a person. */
const ENTRY = 'teleport-databases'

export async function run(context: Context): Promise<void> {
  const { call, io } = context
  const uri = await findUri(context)
  const client = call.text('client-config')
  if (client === undefined) return printSample(context, uri)
  const target = targetOf(context, client)
  const row = FORMATS[target.format]
  const before = readOwn(await findEntry(target.path, row, ENTRY))
  const kept = before.uris.filter((one) => !isSameDatabase(one, uri))
  const entry = entryFor(context, [...kept, uri], call.flag('overwrite') ? undefined : before.env)
  await updateClientConfig(target.path, row, { [ENTRY]: row.render(entry) }, readJsonFormat(call.text('json-format')))
  const verb = kept.length < before.uris.length ? 'Updated' : 'Added'
  io.stdout.write(
    sanitizeTerminal(
      `${verb} database "${uri.database}" on the client configuration at:\n${target.path}\n\nTeleport database access MCP server is named "${ENTRY}" in this configuration.\n\nYou may need to restart the client for it to take notice. ${row.restart}\n`,
    ),
  )
}

/** The database as it is asked for; one that cannot be reached is not written into any file. */
async function findUri(context: Context): Promise<DatabaseUri> {
  const { call } = context
  const database = call.argument('name') ?? ''
  const [user, name] = [call.text('db-user') ?? '', call.text('db-name') ?? '']
  return await withConnection(context, async ({ api }) => {
    const [caller, databases] = [await fetchCaller(api), await fetchDatabases(api)]
    const found = databases.find(({ metadata }) => metadata.name === database)
    if (!found) throw new AppError('not_found', `database "${database}" not found: tsh db ls lists the ones you may use`)
    return { cluster: caller.cluster_name, database, user, name }
  })
}

function printSample(context: Context, uri: DatabaseUri): void {
  const { call, io } = context
  const format = readFormat(call.text('format')) ?? 'claude'
  const entry = FORMATS[format].render(entryFor(context, [uri], undefined))
  writeSample(call, format, { [ENTRY]: entry }, 'launching Teleport MCP servers')
  io.stdout.write(
    `\nIf you already have an entry for "teleport-databases", add the database URI above to its args list, or write it with ${CLIENTS} or the path of its file.\n`,
  )
}

/** What was chosen here for the connection is written down; a profile is found by itself. */
function entryFor({ call, io }: Context, uris: readonly DatabaseUri[], env: Record<string, string> | undefined): StdioEntry {
  const [command = 'tsh', ...words] = io.launcher ?? []
  const args = [...words, 'mcp', 'db', 'start']
  const identity = call.text('identity')
  const proxy = call.text('proxy')
  if (identity) args.push('-i', resolve(identity))
  if (proxy) args.push('--proxy', proxy)
  if (call.flag('insecure')) args.push('--insecure')
  const own: Record<string, string> = {}
  for (const key of ['SALLYPORT_TSH_HOME', 'TELEPORT_HOME']) if (io.env[key] && !identity) own[key] = resolve(io.env[key])
  return { command, args: [...args, ...uris.map(renderDatabaseUri)], env: { ...own, ...env } }
}

/** What an earlier call, or a person, wrote: its databases and its environment. */
function readOwn(entry: unknown): { uris: DatabaseUri[]; env: Record<string, string> } {
  const { args, env } = readEntry(entry)
  return { uris: args.filter((arg) => arg.startsWith('teleport://')).map(parseDatabaseUri), env }
}

function isSameDatabase(one: DatabaseUri, other: DatabaseUri): boolean {
  return one.cluster === other.cluster && one.database === other.database
}

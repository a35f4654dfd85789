import { startDatabaseForwarder } from '../../client/database-forwarder.ts'
import { fetchDatabases } from '../../client/databases.ts'
import { createMcpEndpoint } from '../../client/mcp-endpoint.ts'
import { AppError } from '../../lib/errors.ts'
import { isLoopbackHost } from '../../lib/loopback.ts'
import { sanitizeTerminal } from '../../lib/output.ts'
import { databaseServerName } from '../../resources/db-app.ts'
import { withConnection } from './context.ts'
import type { Context } from './context.ts'
import { interrupted, parsePort } from './proxy-mcp.ts'

/** Runs until it is interrupted. */
export async function run(context: Context): Promise<number> {
  const { call, io, now } = context
  const database = call.argument('name') ?? ''
  if (!call.flag('tunnel'))
    throw new AppError('invalid_argument', 'use --tunnel: a local port without it would ask programs for a client certificate of yours')
  const listen = parseListen(call.text('listen'), call.text('port'))
  const databases = await withConnection(context, ({ api }) => fetchDatabases(api))
  if (!databases.some(({ metadata }) => metadata.name === database))
    throw new AppError('not_found', `database "${database}" not found: tsh db ls lists the ones you may use`)
  const [user, name] = [call.text('db-user') ?? '', call.text('db-name') ?? '']
  const path = `/db/${encodeURIComponent(database)}`
  const forwarder = await startDatabaseForwarder({
    endpoint: createMcpEndpoint({ server: databaseServerName(database), path, open: context.connect, now }),
    user,
    name,
    listen,
    log: (line) => void io.stderr.write(`${sanitizeTerminal(line)}\n`),
  })
  const host = listen.host.includes(':') ? `[${listen.host}]` : listen.host
  io.stdout.write(
    sanitizeTerminal(
      `Started authenticated tunnel for the PostgreSQL database "${database}" in cluster on ${host}:${forwarder.port}.\n\nUse the following command to connect to the database:\n$ psql postgres://${encodeURIComponent(user)}@${host}:${forwarder.port}/${encodeURIComponent(name)}\n`,
    ),
  )
  await interrupted(call.signal)
  await forwarder.close()
  return 0
}

/** Whoever reaches the address has the database: nobody but this machine may. */
function parseListen(listen: string | undefined, port: string | undefined): { host: string; port: number } {
  if (listen === undefined) return { host: '127.0.0.1', port: parsePort(port) }
  const found = /^(?:(\[[0-9a-fA-F:.]+\]|[\w.-]+):)?(\d{1,5})$/.exec(listen)
  const host = (found?.[1] ?? '127.0.0.1').replace(/^\[|\]$/g, '')
  if (!found || !isLoopbackHost(host))
    throw new AppError('invalid_argument', `--listen takes a loopback address, such as 127.0.0.1:5432, not "${listen}"`)
  return { host: host === 'localhost' ? '127.0.0.1' : host, port: parsePort(found[2]) }
}

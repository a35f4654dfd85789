import { command } from '../../lib/command-line.ts'
import type { Program } from '../../lib/command-rows.ts'
import { action } from './context.ts'
import type { TshIo } from './context.ts'
import { CLIENT_CONFIG, DATABASE_USER, listOptions } from './option-rows.ts'

/** Commands about databases. */
export function addDatabases(program: Program, io: TshIo): void {
  command(program, { path: 'db', summary: 'Databases you may use' })
  command(program, {
    path: 'db ls',
    aliases: ['list'],
    summary: 'List the databases you may use',
    arguments: [{ name: '[labels]', description: 'Only databases with these labels: key=value,key2=value2' }],
    options: listOptions('databases', 'addresses'),
    examples: ['tsh db ls', 'tsh db ls env=dev -f json'],
    load: action(io, () => import('./db-ls.ts')),
  })
  addMcpDatabases(program, io)
  command(program, {
    path: 'proxy db',
    summary: 'Serve a database on a port of this machine, for psql and other programs, with your credentials',
    arguments: [{ name: '<name>', description: 'The database' }],
    options: [
      { flags: '--tunnel', description: 'Let programs connect without credentials of their own (needed)' },
      ...DATABASE_USER,
      { flags: '-p, --port <port>', description: 'Port of this machine to listen on; any free one unless told' },
      { flags: '--listen <address>', description: 'Loopback address to listen on, HOST:PORT' },
    ],
    examples: ['tsh proxy db orders --tunnel --db-user=reader --db-name=shop -p 5432'],
    load: action(io, () => import('./proxy-db.ts')),
  })
}

function addMcpDatabases(program: Program, io: TshIo): void {
  command(program, { path: 'mcp db', summary: 'Databases for MCP clients' })
  command(program, {
    path: 'mcp db config',
    summary: 'Print or write the configuration of an MCP client for a database',
    arguments: [{ name: '<name>', description: 'The database' }],
    options: [
      ...DATABASE_USER,
      ...CLIENT_CONFIG,
      { flags: '--overwrite', description: 'Replace the environment of an entry that is there' },
    ],
    examples: ['tsh mcp db config orders --db-user=reader --db-name=shop --client-config=claude'],
    load: action(io, () => import('./mcp-db-config.ts')),
  })
  command(program, {
    path: 'mcp db start',
    summary: 'Serve databases over standard input and output, for an MCP client to start',
    arguments: [{ name: '<uris...>', description: 'teleport://clusters/CLUSTER/databases/DB?dbUser=USER&dbName=NAME' }],
    examples: ["tsh mcp db start 'teleport://clusters/example/databases/orders?dbUser=reader&dbName=shop'"],
    load: action(io, () => import('./mcp-db-start.ts')),
  })
}

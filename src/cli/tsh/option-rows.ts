import type { OptionRow } from '../../lib/command-rows.ts'
import { CONFIG_FORMATS } from '../../services/desktop/installers/clients.ts'
import { FORMAT } from './format.ts'

/** The flags of a command that lists what a person may use. */
export function listOptions(things: 'servers' | 'databases', shown: 'commands' | 'addresses'): OptionRow[] {
  return [
    { flags: '-v, --verbose', description: `Show ${shown} and all labels` },
    { flags: '--search <words>', description: `Only ${things} whose name, description or labels contain every word`, list: true },
    { flags: '--query <predicate>', description: `Only ${things} for which this holds, such as labels["env"] == "dev"` },
    FORMAT,
  ]
}

/** Which client's file is written, and how. */
export const CLIENT_CONFIG: readonly OptionRow[] = [
  {
    flags: '--client-config <client>',
    description: `Client to write to: ${CONFIG_FORMATS.join(', ')}, or the path of its file`,
    env: ['SALLYPORT_MCP_CLIENT_CONFIG', 'TELEPORT_MCP_CLIENT_CONFIG'],
  },
  {
    flags: '--format <format>',
    description: 'Notation, when the path does not tell',
    choices: [...CONFIG_FORMATS],
  },
  {
    flags: '--json-format <format>',
    description: 'Layout of a JSON file',
    choices: ['pretty', 'compact', 'auto', 'none'],
    default: 'auto',
    env: ['SALLYPORT_MCP_CONFIG_JSON_FORMAT', 'TELEPORT_MCP_CONFIG_JSON_FORMAT'],
  },
]

/** Whom a query of a database is made as, and in which database. */
export const DATABASE_USER: readonly OptionRow[] = [
  { flags: '-u, --db-user <user>', description: 'Database user to connect as', required: true },
  { flags: '-n, --db-name <name>', description: 'Database to connect to', required: true },
]

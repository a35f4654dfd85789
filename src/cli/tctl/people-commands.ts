import { command } from '../../lib/command-line.ts'
import type { OptionRow, Program } from '../../lib/command-rows.ts'
import { action } from './context.ts'
import type { TctlIo } from './context.ts'
import { FORMAT } from './format.ts'
import { addSsoCommands } from './sso-commands.ts'

const TRAITS: readonly OptionRow[] = [
  { flags: '--set-db-users <names>', description: 'Database users of the user, the trait db_users', list: true },
  { flags: '--set-db-names <names>', description: 'Databases of the user, the trait db_names', list: true },
  { flags: '--set-mcp-tools <tools>', description: 'MCP tools of the user, the trait mcp_tools', list: true },
  { flags: '--set-traits <traits>', description: 'Traits, key=value; repeat a key for more values', list: true },
]

/** Commands about users, API tokens, identities, locks and access. */
export function addPeopleCommands(program: Program, io: TctlIo): void {
  addUsers(program, io)
  addApiTokens(program, io)
  addOAuthGrants(program, io)
  addAccounts(program, io)
  addIdentities(program, io)
  addSsoCommands(program, io)
  addAccess(program, io)
}

function addUsers(program: Program, io: TctlIo): void {
  const name = [{ name: '<name>', description: 'The user' }]
  command(program, { path: 'users', summary: 'People who may sign in' })
  command(program, {
    path: 'users add',
    summary: 'Create a user and print a sign-up link',
    arguments: name,
    options: [
      { flags: '--roles <roles>', description: 'Roles of the user', list: true, required: true },
      { flags: '--ttl <duration>', description: 'How long the link lives (at most 48h)', default: '1h' },
      { flags: '--db-users <names>', description: 'Database users of the user, the trait db_users', list: true },
      { flags: '--db-names <names>', description: 'Databases of the user, the trait db_names', list: true },
      { flags: '--mcp-tools <tools>', description: 'MCP tools of the user, the trait mcp_tools', list: true },
      { flags: '--traits <traits>', description: 'Traits, key=value; repeat a key for more values', list: true },
      { flags: '--logins <logins>', description: 'Accepted, without effect for MCP servers', list: true, hidden: true },
      FORMAT,
    ],
    examples: ['tctl users add alice --roles=access,editor'],
    load: action(io, () => import('./users-add.ts')),
  })
  command(program, {
    path: 'users ls',
    aliases: ['list'],
    summary: 'List users',
    options: [FORMAT],
    load: action(io, () => import('./users-ls.ts')),
  })
  command(program, {
    path: 'users update',
    summary: 'Change roles or traits of a user',
    arguments: name,
    options: [{ flags: '--set-roles <roles>', description: 'Roles, in place of those before', list: true }, ...TRAITS],
    examples: ['tctl users update alice --set-roles=access', 'tctl users update alice --set-mcp-tools="slack_*,search"'],
    load: action(io, () => import('./users-update.ts')),
  })
  command(program, {
    path: 'users rm',
    aliases: ['delete'],
    summary: 'Delete a user',
    arguments: name,
    load: action(io, () => import('./users-rm.ts')),
  })
  command(program, {
    path: 'users reset',
    summary: 'End password, second factor, sign-ins and API tokens of a user and print a new link',
    arguments: name,
    options: [{ flags: '--ttl <duration>', description: 'How long the link lives (at most 24h)', default: '8h' }, FORMAT],
    load: action(io, () => import('./users-reset.ts')),
  })
}

function addApiTokens(program: Program, io: TctlIo): void {
  command(program, { path: 'api-tokens', summary: 'API tokens, for MCP clients that speak HTTP' })
  command(program, {
    path: 'api-tokens add',
    summary: 'Make an API token for a user; it is shown once',
    arguments: [{ name: '[name]', description: 'A word to know it by' }],
    options: [
      { flags: '--user <user>', description: 'Whose token', required: true },
      { flags: '--ttl <duration>', description: 'How long it lives' },
      { flags: '--servers <names>', description: 'Only for these MCP servers', list: true },
      { flags: '--roles <names>', description: "Only with these of the user's roles", list: true },
      FORMAT,
    ],
    examples: ['tctl api-tokens add ci --user=alice --servers=everything --ttl=720h'],
    load: action(io, () => import('./api-tokens-add.ts')),
  })
  command(program, {
    path: 'api-tokens ls',
    aliases: ['list'],
    summary: 'List API tokens',
    options: [{ flags: '--user <user>', description: 'Only of this user' }, FORMAT],
    load: action(io, () => import('./api-tokens-ls.ts')),
  })
  command(program, {
    path: 'api-tokens rm',
    aliases: ['delete'],
    summary: 'Revoke an API token',
    arguments: [{ name: '<id>', description: 'Its id' }],
    load: action(io, () => import('./api-tokens-rm.ts')),
  })
}

function addOAuthGrants(program: Program, io: TctlIo): void {
  command(program, { path: 'oauth', summary: 'MCP clients that people signed in to' })
  command(program, { path: 'oauth grants', summary: 'What people allowed MCP clients' })
  command(program, {
    path: 'oauth grants ls',
    aliases: ['list'],
    summary: 'List what people allowed MCP clients',
    options: [{ flags: '--user <user>', description: 'Only of this user' }, FORMAT],
    load: action(io, () => import('./oauth-grants-ls.ts')),
  })
  command(program, {
    path: 'oauth grants rm',
    aliases: ['delete'],
    summary: 'End it; live MCP sessions end at once',
    arguments: [{ name: '<id>', description: 'Its id' }],
    load: action(io, () => import('./oauth-grants-rm.ts')),
  })
}

function addAccounts(program: Program, io: TctlIo): void {
  command(program, { path: 'accounts', summary: 'Accounts of users at MCP servers' })
  command(program, {
    path: 'accounts ls',
    aliases: ['list'],
    summary: 'List at which MCP servers users have accounts of their own',
    options: [{ flags: '--user <user>', description: 'Only of this user' }, FORMAT],
    load: action(io, () => import('./accounts-ls.ts')),
  })
  command(program, {
    path: 'accounts rm',
    aliases: ['delete'],
    summary: 'Forget one with its tokens; the user has to sign in there again',
    arguments: [{ name: '<id>', description: 'Its id' }],
    load: action(io, () => import('./accounts-rm.ts')),
  })
}

function addIdentities(program: Program, io: TctlIo): void {
  command(program, { path: 'auth', summary: 'Certificates' })
  command(program, {
    path: 'auth sign',
    summary: 'Make an identity file for a user, or the certificates of a database server',
    options: [
      { flags: '--user <user>', description: 'Whose identity' },
      { flags: '--host <names>', description: 'Names and addresses of a database server, for --format=db', list: true },
      { flags: '-o, --out <file>', description: 'The file to write; with --format=db the beginning of three names', required: true },
      {
        flags: '--format <format>',
        description: 'Identity file, or certificates of a database server',
        choices: ['file', 'db'],
        default: 'file',
      },
      { flags: '--ttl <duration>', description: 'How long it lives; 12h, of a database server 2190h' },
      { flags: '--overwrite', description: 'Replace a file that is there' },
    ],
    examples: ['tctl auth sign --user=ci --out=ci.pem --ttl=12h', 'tctl auth sign --format=db --host=pg.internal --out=server'],
    load: action(io, () => import('./auth-sign.ts')),
  })
  command(program, {
    path: 'auth export',
    summary: 'Print certificates of the certificate authorities',
    options: [
      {
        flags: '--type <type>',
        description: 'Which authority',
        choices: ['host', 'user', 'tls-host', 'tls-user', 'db', 'db-client', 'spiffe'],
      },
    ],
    load: action(io, () => import('./auth-export.ts')),
  })
  command(program, {
    path: 'auth rotate',
    summary: 'Make a new key for the JWTs that MCP servers are sent',
    options: [{ flags: '--type <type>', description: 'Which keys', choices: ['jwt'], required: true }],
    load: action(io, () => import('./auth-rotate.ts')),
  })
}

function addAccess(program: Program, io: TctlIo): void {
  const target = (flag: string, what: string): OptionRow => ({ flags: `--${flag} <name>`, description: `Lock this ${what}` })
  command(program, {
    path: 'lock',
    summary: 'Cut somebody or something off, at once',
    options: [
      target('user', 'user'),
      target('role', 'role'),
      target('login', 'login'),
      target('mfa-device', 'second factor'),
      target('windows-desktop', 'desktop'),
      target('access-request', 'access request'),
      target('device', 'device'),
      target('server-id', 'agent'),
      target('bot-instance-id', 'bot instance'),
      target('join-token', 'join token'),
      { flags: '--message <text>', description: 'What those locked out are told' },
      { flags: '--ttl <duration>', description: 'How long it lasts' },
      { flags: '--expires <time>', description: 'When it ends, RFC 3339' },
    ],
    examples: ['tctl lock --user=alice --message="laptop stolen" --ttl=24h'],
    load: action(io, () => import('./lock.ts')),
  })
  command(program, { path: 'access', summary: 'Why somebody may or may not' })
  command(program, {
    path: 'access explain',
    summary: 'Show why a user may or may not use an MCP server or tool',
    options: [
      { flags: '--user <user>', description: 'Who', required: true },
      { flags: '--server <name>', description: 'Which MCP server', required: true },
      { flags: '--tool <name>', description: 'Which tool of it' },
      { flags: '--args <json>', description: 'Arguments of the call, JSON' },
      { flags: '--method <name>', description: 'Which method that the gateway does not know, instead of a tool' },
      FORMAT,
    ],
    examples: ['tctl access explain --user=alice --server=everything --tool=echo'],
    load: action(io, () => import('./access-explain.ts')),
  })
}

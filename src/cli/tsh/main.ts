import { command, createProgram, interruptSignal, runProgram } from '../../lib/command-line.ts'
import type { OptionRow, Program } from '../../lib/command-rows.ts'
import { action } from './context.ts'
import { addDatabases } from './database-commands.ts'
import type { TshIo } from './context.ts'
import { FORMAT } from './format.ts'
import { CLIENT_CONFIG, listOptions } from './option-rows.ts'
import { addWorkloadIdentities } from './workload-commands.ts'
import { addMfa } from './mfa-commands.ts'

/** What select-endpoint.ts reads, beside the argument `[name]`. */
const ENDPOINT_OPTIONS: readonly OptionRow[] = [
  { flags: '-R, --all', description: 'All MCP servers that you may use, as one' },
  { flags: '--set <set>', description: 'The MCP servers of this set, as one' },
]

/** Runs `tsh`; the exit code. */
export async function main(argv: readonly string[], io: TshIo): Promise<number> {
  const signal = io.signal ?? (io.signals ? interruptSignal(io.signals) : undefined)
  const outside: TshIo = signal ? { ...io, signal } : io
  return await runProgram(createTsh(outside), argv, outside)
}

const GLOBALS: readonly OptionRow[] = [
  {
    flags: '-i, --identity <file>',
    description: 'Use this identity file and no profile; needs --proxy',
    env: ['SALLYPORT_IDENTITY_FILE', 'TELEPORT_IDENTITY_FILE'],
  },
  { flags: '--proxy <address>', description: 'Proxy to talk to, HOST:PORT', env: ['SALLYPORT_PROXY', 'TELEPORT_PROXY'] },
  { flags: '--user <name>', description: 'User to sign in as', env: ['SALLYPORT_USER', 'TELEPORT_USER'] },
  { flags: '--ttl <minutes>', description: 'How long a new sign-in lasts' },
  {
    flags: '--auth <method>',
    description: 'How to sign in: local, browser, passwordless, or the name of a connector',
    env: ['SALLYPORT_AUTH', 'TELEPORT_AUTH'],
  },
  { flags: '--[no-]insecure', description: 'Do not check who the proxy is' },
  {
    flags: '-c, --cluster <name>',
    description: 'Name of the cluster (there is one behind a proxy)',
    env: ['SALLYPORT_CLUSTER', 'TELEPORT_CLUSTER'],
    hidden: true,
  },
  { flags: '--mfa-mode <mode>', description: 'Kind of second factor', hidden: true },
]

function createTsh(io: TshIo): Program {
  const program = createProgram({
    name: 'tsh',
    version: io.version ?? 'dev',
    description: 'Sign in to a Sallyport cluster and use its MCP servers',
    options: GLOBALS,
    firstDay: ['login', 'status', 'mcp ls', 'mcp config', 'logout'],
  })
  addSession(program, io)
  addMcp(program, io)
  addProxy(program, io)
  addDatabases(program, io)
  addWorkloadIdentities(program, io)
  addApiTokens(program, io)
  addMfa(program, io)
  return program
}

const BROWSER: OptionRow = {
  flags: '--browser <program>',
  description: 'Program to open the page with; none prints the address only',
  env: ['SALLYPORT_BROWSER'],
}

function addSession(program: Program, io: TshIo): void {
  command(program, {
    path: 'login',
    summary: 'Sign in and keep a short-lived certificate',
    arguments: [{ name: '[cluster]', description: 'Ignored: one cluster is behind a proxy' }],
    options: [
      { flags: '-o, --out <file>', description: 'Write an identity file instead of a profile' },
      { flags: '--format <format>', description: 'Form of the identity file', choices: ['file'], default: 'file' },
      { flags: '--[no-]overwrite', description: 'Replace an identity file that is there' },
      BROWSER,
      {
        flags: '--ca-pin <pin>',
        description: "Pin of the cluster's certificate authority, sha256:…",
        env: ['SALLYPORT_CA_PIN', 'TELEPORT_CA_PIN'],
        list: true,
      },
      { flags: '--password-file <file>', description: 'Read the password from this file' },
    ],
    examples: [
      'tsh login --proxy=sallyport.example.com:443 --user=alice',
      'tsh login --proxy=localhost:3080 --user=alice --auth=local',
      'tsh login --proxy=sallyport.example.com:443 --auth=passwordless',
      'tsh login --proxy=sallyport.example.com:443 --auth=github',
    ],
    load: action(io, () => import('./login.ts')),
  })
  command(program, {
    path: 'signup',
    summary: 'Use a one-time sign-up link at the terminal: choose a password and a second factor',
    arguments: [{ name: '<url>', description: 'The link that tctl users add or tctl users reset printed' }],
    options: [
      { flags: '--totp', description: 'Set up one-time codes even where they are not required' },
      {
        flags: '--ca-pin <pin>',
        description: "Pin of the cluster's certificate authority, sha256:…",
        env: ['SALLYPORT_CA_PIN', 'TELEPORT_CA_PIN'],
        list: true,
      },
      { flags: '--password-file <file>', description: 'Read the password from this file' },
    ],
    examples: ['tsh signup https://sallyport.example.com/web/signup/TOKEN'],
    load: action(io, () => import('./signup.ts')),
  })
  command(program, { path: 'logout', summary: 'Forget the certificates on this machine', load: action(io, () => import('./logout.ts')) })
  command(program, {
    path: 'status',
    summary: 'Show who is signed in where',
    options: [FORMAT],
    load: action(io, () => import('./status.ts')),
  })
  command(program, { path: 'version', summary: 'Show the version', options: [FORMAT], load: action(io, () => import('./version.ts')) })
}

function addMcp(program: Program, io: TshIo): void {
  command(program, { path: 'mcp', summary: 'MCP servers you may use' })
  command(program, {
    path: 'mcp ls',
    aliases: ['list'],
    summary: 'List the MCP servers you may use',
    arguments: [{ name: '[labels]', description: 'Only servers with these labels: key=value,key2=value2' }],
    options: listOptions('servers', 'commands'),
    examples: ['tsh mcp ls', 'tsh mcp ls env=dev -f json'],
    load: action(io, () => import('./mcp-ls.ts')),
  })
  addMcpConfig(program, io)
  command(program, {
    path: 'mcp connect',
    summary: 'Serve one MCP server, or all as one, over standard input and output, for an MCP client to start',
    arguments: [{ name: '[name]', description: 'The MCP server' }],
    options: [
      ...ENDPOINT_OPTIONS,
      { flags: '--[no-]auto-reconnect', description: 'Start a lost session again unseen by the client', default: true },
      { flags: '-H, --header <header>', description: 'Send this HTTP header too, "Name: value"', list: true },
    ],
    examples: [
      'tsh mcp connect everything',
      'tsh mcp connect --all',
      'tsh mcp connect -i /opt/machine-id/identity --proxy=sallyport.example.com:443 everything',
    ],
    load: action(io, () => import('./mcp-connect.ts')),
  })
  addMcpAccounts(program, io)
  command(program, {
    path: 'mcp call',
    summary: 'Call one tool and print what it answers',
    arguments: [
      { name: '<name>', description: 'The MCP server' },
      { name: '<tool>', description: 'The tool' },
      { name: '[json]', description: 'Arguments of the tool, a JSON object' },
    ],
    options: [{ flags: '--args <json>', description: 'The same as the third argument' }, FORMAT],
    examples: [`tsh mcp call everything echo '{"message": "hello"}'`],
    load: action(io, () => import('./mcp-call.ts')),
  })
}

function addMcpAccounts(program: Program, io: TshIo): void {
  const argument = { name: '<name>', description: 'The MCP server' }
  command(program, {
    path: 'mcp login',
    summary: 'Sign in to an MCP server with your own account there, in the browser',
    arguments: [argument],
    options: [BROWSER],
    load: action(io, () => import('./mcp-login.ts')),
  })
  command(program, {
    path: 'mcp logout',
    summary: 'Have your account at an MCP server forgotten',
    arguments: [argument],
    load: action(io, () => import('./mcp-logout.ts')),
  })
}

function addProxy(program: Program, io: TshIo): void {
  const options: OptionRow[] = [
    ...ENDPOINT_OPTIONS,
    { flags: '-p, --port <port>', description: 'Port of this machine to listen on; any free one unless told' },
    { flags: '-H, --header <header>', description: 'Send this HTTP header too, "Name: value"', list: true },
  ]
  command(program, { path: 'proxy', summary: 'Local endpoints with your credentials' })
  command(program, {
    path: 'proxy mcp',
    summary: 'Serve one MCP server, or all as one, on a port of this machine, over streamable HTTP',
    arguments: [{ name: '[name]', description: 'The MCP server' }],
    options,
    examples: ['tsh proxy mcp everything -p 8000'],
    load: action(io, () => import('./proxy-mcp.ts')),
  })
  command(program, {
    path: 'proxy app',
    summary: 'The same as tsh proxy mcp: all apps are MCP servers',
    arguments: [{ name: '[name]', description: 'The MCP server' }],
    options,
    load: action(io, () => import('./proxy-mcp.ts')),
  })
}

function addMcpConfig(program: Program, io: TshIo): void {
  command(program, {
    path: 'mcp config',
    summary: 'Print or write the configuration of an MCP client',
    arguments: [{ name: '[name]', description: 'The MCP server' }],
    options: [
      { flags: '-R, --all', description: 'All MCP servers you may use' },
      { flags: '--labels <labels>', description: 'The MCP servers with these labels: key=value,key2=value2' },
      { flags: '--query <predicate>', description: 'The MCP servers for which this holds' },
      { flags: '--as-one', description: 'With --all: one entry, which shows all of them as one server, those of later too' },
      { flags: '--set <name>', description: 'One entry, which shows the MCP servers of this set as one server' },
      ...CLIENT_CONFIG,
      { flags: '--[no-]auto-reconnect', description: 'Write this choice for tsh mcp connect too', default: true },
      { flags: '-H, --header <header>', description: 'Write this HTTP header for tsh mcp connect too', list: true },
    ],
    examples: [
      'tsh mcp config everything',
      'tsh mcp config --all --client-config=claude',
      'tsh mcp config --all --as-one --client-config=claude',
      'tsh mcp config everything --client-config=.vscode/mcp.json',
    ],
    load: action(io, () => import('./mcp-config.ts')),
  })
}

function addApiTokens(program: Program, io: TshIo): void {
  command(program, { path: 'api-tokens', summary: 'Your API tokens, for MCP clients that speak HTTP', aliases: ['api-token'] })
  command(program, {
    path: 'api-tokens add',
    summary: 'Make an API token; it is shown once',
    arguments: [{ name: '[name]', description: 'A word to know it by' }],
    options: [
      { flags: '--lifetime <duration>', description: 'How long it lives, such as 720h' },
      { flags: '--servers <names>', description: 'Only for these MCP servers', list: true },
      { flags: '--roles <names>', description: 'Only with these of your roles', list: true },
      FORMAT,
    ],
    examples: ['tsh api-tokens add laptop --servers=everything'],
    load: action(io, () => import('./api-tokens-add.ts')),
  })
  command(program, {
    path: 'api-tokens ls',
    aliases: ['list'],
    summary: 'List your API tokens',
    options: [FORMAT],
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

import { command, createProgram, interruptSignal, runProgram } from '../../lib/command-line.ts'
import type { OptionRow, Program } from '../../lib/command-rows.ts'
import { action } from './context.ts'
import type { TbotIo } from './context.ts'

/** A stop that takes longer is given up: what was asked of the Auth Service is waited for, so that its answer is kept. */
const STOP_GRACE_MS = 60_000

/** Runs `tbot`; the exit code. */
export async function main(argv: readonly string[], io: TbotIo): Promise<number> {
  const signal = io.signal ?? (io.signals ? interruptSignal(io.signals) : undefined)
  const outside: TbotIo = signal ? { ...io, signal } : io
  return await runProgram(createTbot(outside), argv, outside, { interruptGraceMs: STOP_GRACE_MS })
}

const CONFIG: OptionRow = {
  flags: '-c, --config <file>',
  description: 'Path of tbot.yaml',
  env: ['SALLYPORT_TBOT_CONFIG', 'TBOT_CONFIG_PATH'],
}

/** What may be said beside a file, too; it wins over the file. */
const SHARED: readonly OptionRow[] = [
  { flags: '--proxy-server <address>', description: 'Proxy of the cluster, HOST:PORT', env: ['SALLYPORT_PROXY', 'TELEPORT_PROXY'] },
  { flags: '--auth-server <address>', description: 'The same as --proxy-server', env: ['SALLYPORT_AUTH_SERVER', 'TELEPORT_AUTH_SERVER'] },
  {
    flags: '--token <token>',
    description: 'Join token, or the absolute path of a file that holds it',
    env: ['SALLYPORT_BOT_TOKEN', 'TELEPORT_BOT_TOKEN'],
  },
  {
    flags: '--join-method <method>',
    description: 'How to join',
    choices: ['token', 'bound_keypair', 'oidc', 'kubernetes', 'github', 'gitlab'],
  },
  { flags: '--join-uri <uri>', description: 'Method, token and proxy in one: tbot+proxy+METHOD://TOKEN@HOST:PORT' },
  {
    flags: '--registration-secret <secret>',
    description: 'For join method bound_keypair, the first time',
    env: ['SALLYPORT_REGISTRATION_SECRET', 'TBOT_REGISTRATION_SECRET'],
  },
  {
    flags: '--ca-pin <pin>',
    description: "Pin of the cluster's certificate authority, sha256:…",
    env: ['SALLYPORT_CA_PIN', 'TELEPORT_CA_PIN'],
    list: true,
  },
  { flags: '--ca-path <file>', description: "File with the cluster's certificate authority" },
  { flags: '--storage <place>', description: "Where the bot's own credentials are kept: a directory, or memory://" },
  { flags: '--credential-ttl <duration>', description: 'How long a credential lives, 1h unless told' },
  { flags: '--certificate-ttl <duration>', description: 'The older name of --credential-ttl', hidden: true },
  { flags: '--renewal-interval <duration>', description: 'How often it is renewed, 20m unless told' },
  { flags: '--oneshot', description: 'Renew once, write, and end', env: ['SALLYPORT_TBOT_ONESHOT', 'TBOT_ONESHOT'] },
  { flags: '--diag-addr <address>', description: 'HOST:PORT, or a port of loopback, for /readyz, /livez and /metrics' },
  { flags: '--[no-]insecure', description: 'Do not check who the proxy is' },
]

const RUNNING: readonly OptionRow[] = [{ flags: '--pid-file <file>', description: 'Write the process id there while running' }]

const IDENTITY: readonly OptionRow[] = [
  {
    flags: '--destination <place>',
    description: 'Where the identity is written: a directory, or kubernetes-secret://[NAMESPACE/]NAME',
    required: true,
  },
  { flags: '--allow-reissue', description: 'The identity may get further certificates' },
  { flags: '--roles <names>', description: "Only these of the bot's roles", list: true },
  { flags: '--reader-user <user>', description: 'This user may read the files too', list: true },
  { flags: '--reader-group <group>', description: 'This group may read the files too', list: true },
]

function createTbot(io: TbotIo): Program {
  const program = createProgram({
    name: 'tbot',
    version: io.version ?? 'dev',
    description: 'Short-lived credentials for machines, kept fresh',
    firstDay: ['start', 'start identity', 'configure identity', 'wait'],
  })
  command(program, {
    path: 'start',
    summary: 'Join the cluster and keep the credentials of a configuration fresh',
    options: [CONFIG, ...SHARED, ...RUNNING],
    examples: ['tbot start -c /etc/tbot.yaml', 'tbot start -c /etc/tbot.yaml --oneshot'],
    load: action(io, () => import('./start.ts')),
  })
  command(program, {
    path: 'start identity',
    summary: 'Keep one identity file fresh, without a configuration file',
    options: [...SHARED, ...RUNNING, ...IDENTITY],
    examples: ['tbot start identity --proxy-server=sallyport.example.com:443 --token=TOKEN --destination=/opt/machine-id'],
    load: action(io, () => import('./start-identity.ts')),
  })
  command(program, { path: 'configure', summary: 'Print a configuration file' })
  command(program, {
    path: 'configure identity',
    summary: 'Print the configuration file that does the same as tbot start identity',
    options: [...SHARED, ...IDENTITY, { flags: '-o, --output <file>', description: 'Write it to this file' }],
    examples: ['tbot configure identity --proxy-server=sallyport.example.com:443 --token=TOKEN --destination=/opt/machine-id'],
    load: action(io, () => import('./configure-identity.ts')),
  })
  addRest(program, io)
  return program
}

function addRest(program: Program, io: TbotIo): void {
  command(program, {
    path: 'wait',
    summary: 'Wait until a running tbot is ready',
    options: [
      { flags: '--diag-addr <address>', description: 'Its diag_addr, HOST:PORT or a port of loopback', required: true },
      { flags: '--service <name>', description: 'Wait for this service alone' },
      { flags: '--timeout <duration>', description: 'Give up after this long', default: '5m' },
    ],
    examples: ['tbot wait --diag-addr=127.0.0.1:3001'],
    load: action(io, () => import('./wait.ts')),
  })
  command(program, {
    path: 'mcp',
    summary: 'Serve one MCP server, or all as one, over standard input and output, through a running tbot with a service of type mcp',
    arguments: [{ name: '[name]', description: 'The MCP server' }],
    options: [
      CONFIG,
      { flags: '-R, --all', description: 'All MCP servers that the bot may use, as one' },
      { flags: '--set <set>', description: 'The MCP servers of this set, as one' },
      { flags: '--service <name>', description: 'Which of its services, when there are several of type mcp' },
    ],
    examples: ['tbot mcp my-mcp-server -c /etc/tbot.yaml', 'tbot mcp --all -c /etc/tbot.yaml'],
    load: action(io, () => import('./mcp.ts')),
  })
  addSetup(program, io)
  command(program, { path: 'keypair', summary: 'The key pair of a bot that joins by bound_keypair' })
  command(program, {
    path: 'keypair create',
    summary: 'Print the public key of a bot, for join method bound_keypair or an oauth_client; it is made when there is none',
    options: [
      { flags: '--storage <place>', description: "Directory of the bot's own credentials", required: true },
      {
        flags: '--format <format>',
        description: 'PEM for join tokens, or JWK for the jwks of an oauth_client',
        choices: ['pem', 'jwk'],
        default: 'pem',
      },
    ],
    examples: ['tbot keypair create --storage=/var/lib/sallyport/bot'],
    load: action(io, () => import('./keypair-create.ts')),
  })
  command(program, {
    path: 'version',
    summary: 'Print the version',
    examples: ['tbot version'],
    load: action(io, () => import('./version.ts')),
  })
}

/** What is done once on a machine. */
function addSetup(program: Program, io: TbotIo): void {
  command(program, {
    path: 'init',
    summary: 'Make the directories of a configuration, for the account of the bot and their readers',
    options: [CONFIG, { flags: '--bot-user <user>', description: 'Account that tbot runs as; our own unless told' }],
    examples: ['tbot init -c /etc/tbot.yaml --bot-user=tbot'],
    load: action(io, () => import('./init.ts')),
  })
  command(program, { path: 'install', summary: 'Have tbot started by this machine' })
  command(program, {
    path: 'install systemd',
    summary: 'Print a unit of systemd, or write it',
    options: [
      CONFIG,
      { flags: '--user <user>', description: 'Account that tbot runs as', default: 'tbot' },
      { flags: '--group <group>', description: 'Its group; that of the account unless told' },
      { flags: '--name <name>', description: 'Name of the unit', default: 'tbot' },
      { flags: '--program <path>', description: 'Where tbot is', default: '/usr/local/bin/tbot' },
      { flags: '--write', description: 'Write it to /etc/systemd/system' },
    ],
    examples: ['tbot install systemd -c /etc/tbot.yaml --write'],
    load: action(io, () => import('./install-systemd.ts')),
  })
}

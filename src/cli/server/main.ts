import type { Program } from '../../lib/command-rows.ts'
import { command, createProgram, interruptSignal, runProgram } from '../../lib/command-line.ts'
import type { TshIo } from '../tsh/context.ts'

const CONFIG = {
  flags: '-c, --config <file>',
  description: 'Path of sallyport.yaml',
  env: ['SALLYPORT_CONFIG_FILE', 'TELEPORT_CONFIG_FILE'],
}
const CLONE_CONFIG = {
  flags: '-c, --config <file>',
  description: 'Path of the file with the sections src and dst, each as teleport.storage',
}
const DATA_DIR = { flags: '--data-dir <directory>', description: 'Directory of the store, keys and audit log (SALLYPORT_HOME)' }
const DIAG_ADDR = { flags: '--diag-addr <address>', description: 'HOST:PORT, or a port of loopback, for /metrics, /healthz and /readyz' }

const JOIN = [
  { flags: '--roles <services>', description: 'The services to run, whatever the file says: auth, proxy, app, db' },
  { flags: '--auth-server <address>', description: 'HOST:PORT of the proxy of the cluster that this host joins' },
  { flags: '--token <token>', description: 'Join token, or the absolute path of a file with it' },
  { flags: '--ca-pin <pin>', description: 'sha256:… of the cluster, as tctl status shows it; several with commas' },
]

const CONFIGURE = [
  { flags: '--roles <services>', description: 'The services to run: app' },
  { flags: '--proxy <address>', description: 'HOST:PORT of the proxy of the cluster' },
  { flags: '--token <token>', description: 'Join token, or the absolute path of a file with it' },
  { flags: '--ca-pin <pin>', description: 'sha256:… of the cluster, as tctl status shows it' },
  { flags: '--data-dir <directory>', description: 'Where the agent keeps its certificate and journal' },
  { flags: '--mcp-demo-server', description: 'Offer the built-in demo MCP server' },
  { flags: '--app-name <name>', description: 'Name of an MCP server of this agent' },
  { flags: '--app-uri <uri>', description: 'Its URI, such as mcp+https://crm.internal/mcp' },
  {
    flags: '-o, --output <file>',
    description: 'The file to write (a path, file:///PATH, or file: /etc/sallyport.yaml); standard output without',
  },
]

/** A stop that takes longer is given up. */
const STOP_GRACE_MS = 30_000

/** The other programs, by their names. */
const CLIENTS = new Map<string, () => Promise<{ main(argv: readonly string[], io: TshIo): Promise<number> }>>([
  ['tsh', () => import('../tsh/main.ts')],
  ['tctl', () => import('../tctl/main.ts')],
  ['tbot', () => import('../tbot/main.ts')],
])

/** `sallyport`: runs the services; `sallyport tsh|tctl|tbot …` are the clients, for machines where those names are taken. */
export async function main(argv: readonly string[], io: TshIo): Promise<number> {
  const client = CLIENTS.get(argv[0] ?? '')
  if (client) return (await client()).main(argv.slice(1), io)
  const version = io.version ?? 'dev'
  const program = createProgram({
    name: 'sallyport',
    version,
    description: 'The one door through which people, agents and machines reach MCP servers',
    firstDay: ['start', 'config check'],
  })
  command(program, {
    path: 'start',
    summary: 'Run the services that the configuration names; without one, all of them on loopback',
    options: [CONFIG, DATA_DIR, DIAG_ADDR, ...JOIN],
    examples: [
      'sallyport start',
      'sallyport start -c /etc/sallyport.yaml',
      'sallyport start --roles=app --auth-server=proxy.example.com:443 --token=/etc/sallyport/token --ca-pin=sha256:…',
    ],
    load: async () => {
      const { start } = await import('./start.ts')
      return { run: (invocation) => start(invocation, version) }
    },
  })
  command(program, {
    path: 'configure',
    summary: 'Write the configuration of an agent on another machine',
    options: CONFIGURE,
    examples: ['sallyport configure --roles=app --proxy=proxy.example.com:443 --token=/etc/sallyport/token -o file'],
    load: () => import('./configure.ts'),
  })
  command(program, { path: 'config', summary: 'The configuration file' })
  command(program, {
    path: 'config check',
    summary: 'Check a configuration file and say everything that is wrong with it',
    arguments: [{ name: '[file]', description: 'Path of the file' }],
    options: [CONFIG],
    examples: ['sallyport config check sallyport.yaml'],
    load: () => import('./config-check.ts'),
  })
  command(program, { path: 'backend', summary: 'The store of the Auth Service' })
  command(program, {
    path: 'backend clone',
    summary: 'Copy a store to an empty one, such as from SQLite to PostgreSQL, while nothing runs on either',
    options: [CLONE_CONFIG],
    examples: ['sallyport backend clone --config clone.yaml'],
    load: () => import('./backend-clone.ts'),
  })
  addVersion(program, version)
  return runProgram(program, argv, io.signal ? io : { ...io, signal: interruptSignal(process) }, { interruptGraceMs: STOP_GRACE_MS })
}

function addVersion(program: Program, version: string): void {
  command(program, {
    path: 'version',
    summary: 'Print the version',
    examples: ['sallyport version'],
    load: async () => {
      const { printVersion } = await import('./version.ts')
      return { run: async (invocation) => printVersion(invocation, version) }
    },
  })
}

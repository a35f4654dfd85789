import { join, resolve, win32 } from 'node:path'
import { AppError } from '../../../lib/errors.ts'
import { renderNearest } from '../../../lib/nearest.ts'

/** The clients whose notation is known here, by the names that a person writes. */
export const CONFIG_FORMATS = [
  'claude',
  'claude-code',
  'cursor',
  'vscode',
  'codex',
  'gemini',
  'qwen',
  'copilot',
  'cline',
  'opencode',
  'continue',
] as const
/** How a client writes down an MCP server that it starts itself. */
export type ConfigFormat = (typeof CONFIG_FORMATS)[number]

export interface StdioEntry {
  command: string
  args: string[]
  env: Record<string, string>
}

export interface Surroundings {
  platform: NodeJS.Platform
  home: string
  cwd: string
  env: Readonly<Record<string, string | undefined>>
  /** Whether there is a file of this path. */
  exists: (path: string) => boolean
}

export interface FormatRow {
  /** JSON may have comments. */
  notation: 'json' | 'toml' | 'yaml'
  /** The member of the file that holds the servers, by name; in YAML a list. */
  container: 'mcpServers' | 'servers' | 'mcp_servers' | 'mcp'
  /** Hint for people: when the client takes notice. */
  restart: string
  render(entry: StdioEntry): Record<string, unknown>
}

const plain = (entry: StdioEntry): Record<string, unknown> => ({ ...entry })
const typed = (entry: StdioEntry): Record<string, unknown> => ({ type: 'stdio', ...entry })
const JSON_SERVERS = { notation: 'json', container: 'mcpServers' } as const

/** Each client's own notation. */
export const FORMATS: Record<ConfigFormat, FormatRow> = {
  claude: { ...JSON_SERVERS, restart: 'Quit Claude Desktop and open it again.', render: plain },
  'claude-code': { ...JSON_SERVERS, restart: 'Start a new Claude Code session.', render: typed },
  cursor: { ...JSON_SERVERS, restart: 'Cursor may ask you to switch the server on.', render: plain },
  vscode: { notation: 'json', container: 'servers', restart: 'VS Code asks once whether you trust the server.', render: typed },
  codex: {
    notation: 'toml',
    container: 'mcp_servers',
    restart: 'Start a new Codex session.',
    // Else its first turn begins without the tools of a server that is not ready.
    render: (entry) => ({ ...entry, required: true }),
  },
  gemini: { ...JSON_SERVERS, restart: 'Start Gemini CLI anew, in a folder that you trust.', render: plain },
  qwen: { ...JSON_SERVERS, restart: 'Start Qwen Code anew.', render: plain },
  // Without tools it shows none.
  copilot: { ...JSON_SERVERS, restart: 'Start Copilot CLI anew.', render: (entry) => ({ ...typed(entry), tools: ['*'] }) },
  cline: { ...JSON_SERVERS, restart: 'Start Cline anew.', render: (entry) => ({ transport: typed(entry) }) },
  opencode: {
    notation: 'json',
    container: 'mcp',
    restart: 'Start opencode anew.',
    render: ({ command, args, env }) => ({ type: 'local', command: [command, ...args], environment: env, enabled: true }),
  },
  continue: { notation: 'yaml', container: 'mcpServers', restart: 'Start Continue anew, or load its configuration again.', render: plain },
}

export interface ConfigTarget {
  path: string
  format: ConfigFormat
}

/** What `--client-config` means: the name of a client, or the path of a file whose notation `format` or the path itself tells. */
export function findTarget(value: string, format: ConfigFormat | undefined, surroundings: Surroundings): ConfigTarget {
  if (isConfigFormat(value)) return { path: userFile(value, surroundings), format: format ?? value }
  if (/^[a-z-]+$/i.test(value))
    throw new AppError(
      'invalid_argument',
      `"${value}" is not a client known here${renderNearest(value, CONFIG_FORMATS)}: write ${CONFIG_FORMATS.join(', ')}, or the path of its config file`,
    )
  return { path: resolve(surroundings.cwd, value), format: format ?? formatOfPath(value) }
}

/** What an entry in the notation of any client says of arguments and environment. */
export function readEntry(entry: unknown): { args: string[]; env: Record<string, string> } {
  const outer = membersOf(entry)
  const members = 'transport' in outer ? membersOf(outer['transport']) : outer
  const { command } = members
  const args: unknown[] = Array.isArray(command) ? command.slice(1) : Array.isArray(members['args']) ? members['args'] : []
  const env = membersOf(members['env'] ?? members['environment'])
  return {
    args: args.filter((arg) => typeof arg === 'string'),
    env: Object.fromEntries(Object.entries(env).map(([key, value]) => [key, String(value)])),
  }
}

function membersOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? { ...value } : {}
}

export function isConfigFormat(text: string | undefined): text is ConfigFormat {
  return CONFIG_FORMATS.some((format) => format === text)
}

/** What the path of a file tells, the first that fits. */
const PATHS: readonly (readonly [RegExp, ConfigFormat])[] = [
  [/\.vscode|[/\\]Code( - Insiders)?[/\\]User[/\\][^/\\]*$/, 'vscode'],
  [/\.cursor/, 'cursor'],
  [/(^|[/\\])\.(mcp|claude)\.json$/, 'claude-code'],
  [/\.toml$/, 'codex'],
  [/\.gemini/, 'gemini'],
  [/\.qwen/, 'qwen'],
  [/(^|[/\\])mcp-config\.json$/, 'copilot'],
  [/\.cline/, 'cline'],
  [/(^|[/\\])opencode\.jsonc?$/, 'opencode'],
  [/\.ya?ml$/, 'continue'],
]

function formatOfPath(path: string): ConfigFormat {
  return PATHS.find(([pattern]) => pattern.test(path))?.[1] ?? 'claude'
}

/** The file a client reads for its user, by client name. */
function userFile(client: ConfigFormat, { platform, home, env, exists }: Surroundings): string {
  const path = platform === 'win32' ? win32 : { join }
  const roaming = env['APPDATA'] ?? win32.join(home, 'AppData', 'Roaming')
  const config = env['XDG_CONFIG_HOME']?.startsWith('/') ? env['XDG_CONFIG_HOME'] : path.join(home, '.config')
  const application = (name: string) =>
    platform === 'win32'
      ? win32.join(roaming, name)
      : platform === 'darwin'
        ? join(home, 'Library', 'Application Support', name)
        : join(config, name)
  const under = (variable: string, folder: string) => env[variable] || path.join(home, folder)
  const opencode = path.join(config, 'opencode', 'opencode.json')
  return {
    claude: path.join(application('Claude'), 'claude_desktop_config.json'),
    'claude-code': path.join(env['CLAUDE_CONFIG_DIR'] || home, '.claude.json'),
    cursor: path.join(home, '.cursor', 'mcp.json'),
    vscode: path.join(application('Code'), 'User', 'mcp.json'),
    codex: path.join(under('CODEX_HOME', '.codex'), 'config.toml'),
    gemini: path.join(home, '.gemini', 'settings.json'),
    qwen: path.join(home, '.qwen', 'settings.json'),
    copilot: path.join(under('COPILOT_HOME', '.copilot'), 'mcp-config.json'),
    cline: path.join(under('CLINE_DIR', '.cline'), 'data', 'settings', 'cline_mcp_settings.json'),
    opencode: exists(`${opencode}c`) && !exists(opencode) ? `${opencode}c` : opencode,
    continue: path.join(home, '.continue', 'config.yaml'),
  }[client]
}

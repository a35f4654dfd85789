import { join, resolve, win32 } from 'node:path'
import { AppError } from '../../../lib/errors.ts'

/** How a client writes down an MCP server that it starts itself. */
export type ConfigFormat = 'claude' | 'claude-code' | 'cursor' | 'vscode'

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
}

interface FormatRow {
  /** The member of the file that holds the servers, by name. */
  container: 'mcpServers' | 'servers'
  /** Whether an entry says that it is one of stdio. */
  typed: boolean
  /** Hint for people: when the client takes notice. */
  restart: string
}

/** Each client's own notation. */
export const FORMATS: Record<ConfigFormat, FormatRow> = {
  claude: { container: 'mcpServers', typed: false, restart: 'Quit Claude Desktop and open it again.' },
  'claude-code': { container: 'mcpServers', typed: true, restart: 'Start a new Claude Code session.' },
  cursor: { container: 'mcpServers', typed: false, restart: 'Cursor may ask you to switch the server on.' },
  vscode: { container: 'servers', typed: true, restart: 'VS Code asks once whether you trust the server.' },
}

export interface ConfigTarget {
  path: string
  format: ConfigFormat
}

/** What `--client-config` means: the name of a client, or the path of a file whose notation `format` or the path itself tells. */
export function findTarget(value: string, format: ConfigFormat | undefined, surroundings: Surroundings): ConfigTarget {
  const known = userFile(value, surroundings)
  if (known) return { path: known, format: format ?? formatNamed(value) }
  if (/^[a-z-]+$/i.test(value))
    throw new AppError(
      'invalid_argument',
      `"${value}" is not a client known here: write ${Object.keys(FORMATS).join(', ')}, or the path of its config file`,
    )
  return { path: resolve(surroundings.cwd, value), format: format ?? formatOfPath(value) }
}

/** One server in the client's notation. */
export function renderEntry(format: ConfigFormat, entry: StdioEntry): Record<string, unknown> {
  return { ...(FORMATS[format].typed ? { type: 'stdio' } : {}), ...entry }
}

function formatNamed(value: string): ConfigFormat {
  return value === 'claude-code' || value === 'cursor' || value === 'vscode' ? value : 'claude'
}

function formatOfPath(path: string): ConfigFormat {
  if (path.includes('.vscode') || /[/\\]Code( - Insiders)?[/\\]User[/\\]/.test(path)) return 'vscode'
  if (path.includes('.cursor')) return 'cursor'
  if (/(^|[/\\])\.(mcp|claude)\.json$/.test(path)) return 'claude-code'
  return 'claude'
}

/** The file a client reads for its user, by client name. */
function userFile(client: string, { platform, home, env }: Surroundings): string | undefined {
  const path = platform === 'win32' ? win32 : { join }
  const roaming = env['APPDATA'] ?? win32.join(home, 'AppData', 'Roaming')
  const config = env['XDG_CONFIG_HOME']?.startsWith('/') ? env['XDG_CONFIG_HOME'] : join(home, '.config')
  const application = (name: string) =>
    platform === 'win32'
      ? win32.join(roaming, name)
      : platform === 'darwin'
        ? join(home, 'Library', 'Application Support', name)
        : join(config, name)
  switch (client) {
    case 'claude':
      return path.join(application('Claude'), 'claude_desktop_config.json')
    case 'claude-code':
      return path.join(env['CLAUDE_CONFIG_DIR'] || home, '.claude.json')
    case 'cursor':
      return path.join(home, '.cursor', 'mcp.json')
    case 'vscode':
      return path.join(application('Code'), 'User', 'mcp.json')
    default:
      return undefined
  }
}

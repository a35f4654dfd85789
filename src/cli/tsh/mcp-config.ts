import { homedir } from 'node:os'
import { fetchServers, type UsableServer } from '../../client/servers.ts'
import { resolve } from 'node:path'
import { AppError } from '../../lib/errors.ts'
import { renderNearest } from '../../lib/nearest.ts'
import { escapeControls, sanitizeTerminal } from '../../lib/output.ts'
import { JSON_FORMATS, renderWhole, updateClientConfig } from '../../services/desktop/installers/client-config.ts'
import type { JsonFormat } from '../../services/desktop/installers/client-config.ts'
import { findTarget, FORMATS, renderEntry } from '../../services/desktop/installers/clients.ts'
import type { ConfigFormat, StdioEntry } from '../../services/desktop/installers/clients.ts'
import { withConnection } from './context.ts'
import type { Context } from './context.ts'
import { joinHeaders, parseHeaders } from './headers.ts'
import { selectServers } from './select-servers.ts'

const PREFIX = 'teleport-mcp-'

export async function run(context: Context): Promise<void> {
  const { call, io } = context
  checkSelectors(context)
  parseHeaders(call.list('header'))
  const all = await withConnection(context, ({ api }) => fetchServers(api))
  const name = call.argument('name')
  const servers = selectServers(all, { labels: call.text('labels'), query: call.text('query') }).filter(
    (server) => name === undefined || server.metadata.name === name,
  )
  if (servers.length === 0) throw nothingFound(name, all)
  const names = servers.map((server) => server.metadata.name)
  const client = call.text('client-config')
  if (client === undefined) return printSample(context, names)
  const target = findTarget(client, readFormat(call.text('format')), {
    platform: process.platform,
    home: io.env['HOME'] ?? homedir(),
    cwd: process.cwd(),
    env: io.env,
  })
  const { container, restart } = FORMATS[target.format]
  const changed = await updateClientConfig(
    target.path,
    container,
    entriesFor(context, names, target.format),
    readJsonFormat(call.text('json-format')),
  )
  io.stdout.write(sanitizeTerminal(`Found MCP servers:\n${names.join('\n')}\n\n`))
  io.stdout.write(
    changed
      ? `Updated client configuration at:\n${target.path}\n\nTeleport MCP servers will be prefixed with "${PREFIX}" in this configuration.\n`
      : `Nothing to change in:\n${target.path}\n`,
  )
  if (changed) io.stdout.write(`You may need to restart the client for it to take notice. ${restart}\n`)
}

function checkSelectors({ call }: Context): void {
  const given = [
    call.argument('name') !== undefined,
    call.flag('all'),
    call.text('labels') !== undefined,
    call.text('query') !== undefined,
  ].filter(Boolean)
  if (given.length === 0) throw new AppError('invalid_argument', 'no selector specified: give a NAME, --all, --labels or --query')
  if (given.length > 1) throw new AppError('invalid_argument', 'only one selector is allowed: a NAME, --all, --labels or --query')
}

function nothingFound(name: string | undefined, all: readonly UsableServer[]): AppError {
  const names = all.map((server) => server.metadata.name)
  const what = name === undefined ? 'no MCP servers found' : `MCP server "${name}" not found${renderNearest(name, names)}`
  return new AppError('not_found', `${what}: tsh mcp ls lists the ones you may use`)
}

function printSample(context: Context, names: readonly string[]): void {
  const { call, io } = context
  const format = readFormat(call.text('format')) ?? 'claude'
  io.stdout.write(
    sanitizeTerminal(`Found MCP servers:\n${names.join('\n')}\n\nHere is a sample JSON configuration for launching them (${format}):\n`),
  )
  io.stdout.write(
    escapeControls(
      renderWhole(
        { [FORMATS[format].container]: entriesFor(context, names, format) },
        call.text('json-format') === 'compact' ? 'compact' : 'pretty',
      ),
    ),
  )
  io.stdout.write(
    '\nIf you already have a configuration for your client, add these entries to it, or write them with --client-config=claude|claude-code|cursor|vscode or the path of its file.\n',
  )
}

function entriesFor(context: Context, names: readonly string[], format: ConfigFormat): Record<string, unknown> {
  return Object.fromEntries(names.map((name) => [`${PREFIX}${name}`, renderEntry(format, entryFor(context, name))]))
}

/** What was chosen here for the connection is written down; a profile is found by itself. */
function entryFor({ call, io }: Context, name: string): StdioEntry {
  const [command = 'tsh', ...words] = io.launcher ?? []
  const args = [...words, 'mcp', 'connect']
  const identity = call.text('identity')
  const proxy = call.text('proxy')
  if (identity) args.push('-i', resolve(identity))
  if (proxy) args.push('--proxy', proxy)
  if (call.flag('insecure')) args.push('--insecure')
  if (call.isGiven('auto-reconnect')) args.push(call.flag('auto-reconnect') ? '--auto-reconnect' : '--no-auto-reconnect')
  for (const header of joinHeaders(call.list('header'))) args.push('-H', header)
  const env: Record<string, string> = {}
  for (const key of ['SALLYPORT_TSH_HOME', 'TELEPORT_HOME']) if (io.env[key] && !identity) env[key] = resolve(io.env[key])
  // A name is never an option, whatever it looks like.
  if (name.startsWith('-')) args.push('--')
  return { command, args: [...args, name], env }
}

/** The value of `--format`. */
export function readFormat(text: string | undefined): ConfigFormat | undefined {
  return text === 'claude' || text === 'claude-code' || text === 'cursor' || text === 'vscode' ? text : undefined
}

/** The value of `--json-format`. */
export function readJsonFormat(text: string | undefined): JsonFormat {
  return JSON_FORMATS.find((format) => format === text) ?? 'auto'
}

import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import type { ApiClient } from '../../client/call.ts'
import { fetchEndpointToken, fetchServers, type UsableServer } from '../../client/servers.ts'
import { resolve } from 'node:path'
import { AppError } from '../../lib/errors.ts'
import { renderNearest } from '../../lib/nearest.ts'
import { escapeControls, sanitizeTerminal } from '../../lib/output.ts'
import { renderMcpEndpoint } from '../../resources/mcp-endpoint.ts'
import { JSON_FORMATS, renderClientConfig, updateClientConfig } from '../../services/desktop/installers/client-config.ts'
import type { Entries, JsonFormat } from '../../services/desktop/installers/client-config.ts'
import { CONFIG_FORMATS, findTarget, FORMATS, isConfigFormat } from '../../services/desktop/installers/clients.ts'
import type { ConfigFormat, ConfigTarget, StdioEntry } from '../../services/desktop/installers/clients.ts'
import { withConnection } from './context.ts'
import type { Context } from './context.ts'
import { joinHeaders, parseHeaders } from './headers.ts'
import { selectServers } from './select-servers.ts'

const PREFIX = 'teleport-mcp-'
/** Of entries with several servers: names that no entry of one server has. */
const ALL_ENTRY = 'teleport-mcp'
const SET_PREFIX = 'teleport-set-'
const SELECTORS = 'a NAME, --all, --labels, --query or --set'

/** What is written into the configuration of a client. */
interface Chosen {
  /** For people: what was found. */
  found: string
  /** What its name says of an entry. */
  naming: string
  /** Name of an entry → the last words of the command that it starts. */
  entries: readonly (readonly [name: string, words: readonly string[]])[]
}

export async function run(context: Context): Promise<void> {
  const { call, io } = context
  checkSelectors(context)
  parseHeaders(call.list('header'))
  const chosen = await withConnection(context, ({ api }) => choose(api, call))
  const client = call.text('client-config')
  if (client === undefined) return printSample(context, chosen)
  const target = targetOf(context, client)
  const row = FORMATS[target.format]
  const entries = entriesFor(context, chosen, target.format)
  const changed = await updateClientConfig(target.path, row, entries, readJsonFormat(call.text('json-format')))
  io.stdout.write(sanitizeTerminal(chosen.found))
  io.stdout.write(
    changed
      ? sanitizeTerminal(`Updated client configuration at:\n${target.path}\n\n${chosen.naming}\n`)
      : `Nothing to change in:\n${target.path}\n`,
  )
  if (changed) io.stdout.write(`You may need to restart the client for it to take notice. ${row.restart}\n`)
}

/** @throws AppError not_found when there is nothing of what was asked for. */
async function choose(api: ApiClient, call: Context['call']): Promise<Chosen> {
  const set = call.text('set')
  if (set !== undefined) {
    // Refused for a set that does not exist.
    await fetchEndpointToken(api, renderMcpEndpoint({ type: 'set', name: set }))
    return asOne(`${SET_PREFIX}${set}`, `--set=${set}`, `Found MCP set:\n${set}\n\n`)
  }
  const name = call.argument('name')
  const all = await fetchServers(api)
  const servers = selectServers(all, { labels: call.text('labels'), query: call.text('query') }).filter(
    (server) => name === undefined || server.metadata.name === name,
  )
  if (servers.length === 0) throw nothingFound(name, all)
  const names = servers.map((server) => server.metadata.name)
  const found = `Found MCP servers:\n${names.join('\n')}\n\n`
  if (call.flag('as-one')) return asOne(ALL_ENTRY, '--all', found)
  return {
    found,
    naming: `Teleport MCP servers will be prefixed with "${PREFIX}" in this configuration.`,
    // A name is never an option, whatever it looks like.
    entries: names.map((one) => [`${PREFIX}${one}`, one.startsWith('-') ? ['--', one] : [one]]),
  }
}

function asOne(name: string, word: string, found: string): Chosen {
  return { found, naming: `They are one server, "${name}", in this configuration.`, entries: [[name, [word]]] }
}

function checkSelectors({ call }: Context): void {
  const given = [
    call.argument('name') !== undefined,
    call.flag('all'),
    call.text('labels') !== undefined,
    call.text('query') !== undefined,
    call.text('set') !== undefined,
  ].filter(Boolean)
  if (given.length === 0) throw new AppError('invalid_argument', `no selector specified: give ${SELECTORS}`)
  if (given.length > 1) throw new AppError('invalid_argument', `only one selector is allowed: ${SELECTORS}`)
  if (call.flag('as-one') && !call.flag('all')) throw new AppError('invalid_argument', '--as-one is for --all: a set is one server anyway')
}

function nothingFound(name: string | undefined, all: readonly UsableServer[]): AppError {
  const names = all.map((server) => server.metadata.name)
  const what = name === undefined ? 'no MCP servers found' : `MCP server "${name}" not found${renderNearest(name, names)}`
  return new AppError('not_found', `${what}: tsh mcp ls lists the ones you may use`)
}

function printSample(context: Context, chosen: Chosen): void {
  const { call, io } = context
  const format = readFormat(call.text('format')) ?? 'claude'
  io.stdout.write(sanitizeTerminal(chosen.found))
  writeSample(call, format, entriesFor(context, chosen, format), 'launching them')
  io.stdout.write(
    `\nIf you already have a configuration for your client, add these entries to it, or write them with ${CLIENTS} or the path of its file.\n`,
  )
}

/** What goes before the path of a file. */
export const CLIENTS = `--client-config=${CONFIG_FORMATS.join('|')}`

/** A whole file of these entries, as an example to copy. */
export function writeSample(call: Context['call'], format: ConfigFormat, entries: Entries, what: string): void {
  const { io } = call
  const row = FORMATS[format]
  const layout = call.text('json-format') === 'compact' ? 'compact' : 'pretty'
  const text = renderClientConfig('', row, entries, layout)
  io.stdout.write(`Here is a sample ${row.notation.toUpperCase()} configuration for ${what} (${format}):\n`)
  // Of JSON alone escapes are known to be read everywhere.
  io.stdout.write(row.notation === 'json' ? escapeControls(text) : sanitizeTerminal(text))
}

function entriesFor(context: Context, { entries }: Chosen, format: ConfigFormat): Entries {
  return Object.fromEntries(entries.map(([name, words]) => [name, FORMATS[format].render(entryFor(context, words))]))
}

/** What was chosen here for the connection is written down; a profile is found by itself. */
function entryFor({ call, io }: Context, last: readonly string[]): StdioEntry {
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
  return { command, args: [...args, ...last], env }
}

/** The file of the client that `--client-config` names, or the file that it is. */
export function targetOf({ call, io }: Context, client: string): ConfigTarget {
  return findTarget(client, readFormat(call.text('format')), {
    platform: process.platform,
    home: io.env['HOME'] ?? homedir(),
    cwd: process.cwd(),
    env: io.env,
    exists: existsSync,
  })
}

/** The value of `--format`. */
export function readFormat(text: string | undefined): ConfigFormat | undefined {
  return isConfigFormat(text) ? text : undefined
}

/** The value of `--json-format`. */
export function readJsonFormat(text: string | undefined): JsonFormat {
  return JSON_FORMATS.find((format) => format === text) ?? 'auto'
}

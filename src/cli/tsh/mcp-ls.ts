import { fetchServers } from '../../client/servers.ts'
import type { UsableServer } from '../../client/servers.ts'
import { renderOutput } from '../../lib/output.ts'
import { renderTable, type Screen } from '../../lib/table.ts'
import { formatOf } from '../../lib/output-format.ts'
import { withConnection } from './context.ts'
import type { Context } from './context.ts'
import { descriptionOf, labelsOf, selectServers, typeOf } from './select-servers.ts'

export async function run(context: Context): Promise<void> {
  const { call, io } = context
  const all = await withConnection(context, ({ api }) => fetchServers(api))
  const servers = selectServers(all, {
    labels: call.argument('labels'),
    words: call.list('search').flatMap((words) => words.split(/\s+/)),
    query: call.text('query'),
  })
  const format = formatOf(call)
  if (servers.length === 0 && format === 'text')
    return void io.stderr.write(
      all.length === 0
        ? 'There are no MCP servers you may use now: ask an administrator for a role that allows one.\n'
        : 'None of your MCP servers matches: tsh mcp ls without filters lists all.\n',
    )
  io.stdout.write(
    renderOutput(format, servers, (shown) => (call.flag('verbose') ? renderVerbose(shown) : renderShort(shown, io)) + footnote(shown)),
  )
}

function renderShort(servers: readonly UsableServer[], screen: Screen): string {
  const rows = servers.map((server) => [
    server.metadata.name + healthMark(server),
    descriptionOf(server),
    typeOf(server),
    allowedTools(server),
    renderLabels(server, isOwnLabel),
  ])
  return renderTable(['Name', 'Description', 'Type', 'Allowed Tools', 'Labels'], rows, screen)
}

function renderVerbose(servers: readonly UsableServer[]): string {
  const rows = servers.map((server) => {
    const mcp = mcpOf(server)
    const args = Array.isArray(mcp['args']) ? mcp['args'].map(String).join(' ') : ''
    return [
      server.metadata.name,
      descriptionOf(server),
      typeOf(server),
      renderLabels(server, () => true),
      typeof mcp['command'] === 'string' ? mcp['command'] : '',
      args,
      allowedTools(server),
      server.health?.state ?? '',
      renderAgents(server),
    ]
  })
  return renderTable(['Name', 'Description', 'Type', 'Labels', 'Command', 'Args', 'Allowed Tools', 'Health', 'Agents'], rows)
}

/** Where a new session may go, and how the server does there. */
function renderAgents({ agents = [] }: UsableServer): string {
  const rendered = agents.map(({ hostname, host_id, state }) => `${hostname || host_id}${state === undefined ? '' : ` (${state})`}`)
  return printable(rendered.join(', '))
}

function allowedTools({ permissions }: UsableServer): string {
  const { allowed, denied } = permissions.mcp.tools
  if (allowed.length === 0) return '(none) [!]'
  return `[${allowed.join(' ')}]${denied.length > 0 ? ` except [${denied.join(' ')}]` : ''}`
}

function footnote(servers: readonly UsableServer[]): string {
  const blocked = servers.filter(({ permissions }) => permissions.mcp.tools.allowed.length === 0)
  const note = '[!] Your roles allow no tool of this MCP server: ask an administrator for mcp.tools in one of them.'
  const lines = [...(blocked.length === 0 ? [] : [note]), ...servers.filter(isUnwell).map(renderHealth)]
  return lines.length === 0 ? '' : `\n${lines.join('\n')}\n`
}

function isUnwell({ health }: UsableServer): boolean {
  return health?.state === 'failing' || health?.state === 'degraded'
}

function healthMark(server: UsableServer): string {
  return isUnwell(server) ? ` [${server.health?.state}]` : ''
}

function renderHealth({ metadata, health }: UsableServer): string {
  return `[${health?.state}] ${metadata.name}, since ${health?.since}: ${printable(health?.reason ?? 'no reason known')}`
}

/** What programs and agents say has no line breaks or control characters of its own. */
function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}]/gu, ' ')
}

function renderLabels(server: UsableServer, isShown: (key: string) => boolean): string {
  return Object.entries(labelsOf(server))
    .filter(([key]) => isShown(key))
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${value}`)
    .join(',')
}

function isOwnLabel(key: string): boolean {
  return !key.startsWith('teleport.internal/') && !key.startsWith('teleport.dev/')
}

function mcpOf({ spec }: UsableServer): Record<string, unknown> {
  const mcp: unknown = typeof spec === 'object' && spec !== null ? Reflect.get(spec, 'mcp') : undefined
  return typeof mcp === 'object' && mcp !== null ? { ...mcp } : {}
}

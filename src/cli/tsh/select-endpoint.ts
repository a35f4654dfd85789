import type { McpPlace } from '../../client/mcp-endpoint.ts'
import type { Invocation } from '../../lib/command-rows.ts'
import { AppError } from '../../lib/errors.ts'
import { renderMcpEndpoint } from '../../resources/mcp-endpoint.ts'

/** The one server, all of them, or those of a set: what a command line chooses. `title` is for people. */
export function selectEndpoint(call: Invocation): { place: McpPlace; title: string } {
  const name = call.argument('name')
  const set = call.text('set')
  const given = [name !== undefined, call.flag('all'), set !== undefined].filter(Boolean)
  if (given.length !== 1) throw new AppError('invalid_argument', 'give one of these: the NAME of an MCP server, --all, or --set NAME')
  if (name !== undefined) return { place: { server: name }, title: name }
  return set === undefined
    ? { place: { path: renderMcpEndpoint({ type: 'all' }) }, title: 'all MCP servers' }
    : { place: { path: renderMcpEndpoint({ type: 'set', name: set }) }, title: `the set ${set}` }
}

import { fetchResources } from '../../client/admin.ts'
import { renderOutput } from '../../lib/output.ts'
import { renderTable } from '../../lib/table.ts'
import { parseResource } from '../../resources/registry.ts'
import { formatOf } from '../../lib/output-format.ts'
import type { Context } from './context.ts'

export async function run({ call, io, withApi }: Context): Promise<void> {
  const users = (await withApi((api) => fetchResources(api, 'user'))).map((user) => parseResource('user', user))
  const format = formatOf(call)
  if (users.length === 0 && format === 'text') return void io.stderr.write('There are no users: tctl users add makes one.\n')
  io.stdout.write(
    renderOutput(format, users, (items) =>
      renderTable(
        ['User', 'Roles', 'MCP Tools'],
        items.map(({ metadata, spec }) => [metadata.name, spec.roles.join(','), spec.traits?.['mcp_tools']?.join(',') ?? '']),
        io,
      ),
    ),
  )
}

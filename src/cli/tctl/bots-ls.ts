import { fetchResources } from '../../client/admin.ts'
import { renderOutput } from '../../lib/output.ts'
import { renderTable } from '../../lib/table.ts'
import { parseResource } from '../../resources/registry.ts'
import { formatOf } from '../../lib/output-format.ts'
import type { Context } from './context.ts'

export async function run({ call, io, withApi }: Context): Promise<void> {
  const bots = (await withApi((api) => fetchResources(api, 'bot'))).map((bot) => parseResource('bot', bot))
  const format = formatOf(call)
  if (bots.length === 0 && format === 'text') return void io.stdout.write('No bots found\n')
  io.stdout.write(
    renderOutput(format, bots, (items) =>
      renderTable(
        ['Bot', 'User', 'Roles'],
        items.map(({ metadata, spec, status }) => [metadata.name, status?.user_name ?? '', spec.roles.join(',')]),
        io,
      ),
    ),
  )
}

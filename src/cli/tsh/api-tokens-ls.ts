import { fetchApiTokens } from '../../client/admin.ts'
import { renderOutput } from '../../lib/output.ts'
import { renderTable } from '../../lib/table.ts'
import { formatOf } from '../../lib/output-format.ts'
import { withConnection } from './context.ts'
import type { Context } from './context.ts'

export async function run(context: Context): Promise<void> {
  const { call, io } = context
  const tokens = await withConnection(context, ({ api }) => fetchApiTokens(api))
  const format = formatOf(call)
  if (tokens.length === 0 && format === 'text') return void io.stderr.write('You have no API tokens: tsh api-tokens add makes one.\n')
  io.stdout.write(
    renderOutput(format, tokens, (items) => {
      const rows = items.map((item) => [
        item.id,
        item.name,
        item.servers?.join(',') ?? '*',
        item.roles?.join(',') ?? '*',
        item.expires,
        item.last_used ?? 'never',
      ])
      return renderTable(['ID', 'Name', 'Servers', 'Roles', 'Expiry Time (UTC)', 'Last Used'], rows, io)
    }),
  )
}

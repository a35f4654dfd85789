import { fetchApiTokens } from '../../client/admin.ts'
import { renderOutput } from '../../lib/output.ts'
import { renderTable } from '../../lib/table.ts'
import { formatOf } from '../../lib/output-format.ts'
import type { Context } from './context.ts'

export async function run({ call, io, withApi }: Context): Promise<void> {
  const tokens = await withApi((api) => fetchApiTokens(api, call.text('user') ?? '*'))
  const format = formatOf(call)
  if (tokens.length === 0 && format === 'text') return void io.stderr.write('There are no API tokens: tctl api-tokens add makes one.\n')
  io.stdout.write(
    renderOutput(format, tokens, (items) => {
      const rows = items.map((item) => [
        item.id,
        item.user,
        item.name,
        item.servers?.join(',') ?? '*',
        item.roles?.join(',') ?? '*',
        item.expires,
        item.last_used ?? 'never',
      ])
      return renderTable(['ID', 'User', 'Name', 'Servers', 'Roles', 'Expiry Time (UTC)', 'Last Used'], rows, io)
    }),
  )
}

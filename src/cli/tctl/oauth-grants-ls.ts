import { fetchOAuthGrants } from '../../client/admin.ts'
import { renderOutput } from '../../lib/output.ts'
import { renderTable } from '../../lib/table.ts'
import { formatOf } from '../../lib/output-format.ts'
import type { Context } from './context.ts'

export async function run({ call, io, withApi }: Context): Promise<void> {
  const grants = await withApi((api) => fetchOAuthGrants(api, call.text('user') ?? '*'))
  const format = formatOf(call)
  if (grants.length === 0 && format === 'text') return void io.stderr.write('Nobody has allowed an MCP client anything.\n')
  io.stdout.write(
    renderOutput(format, grants, (items) => {
      const rows = items.map((item) => [
        item.id,
        item.user,
        item.client_name ?? item.client_id,
        item.resources.join(','),
        item.scope,
        item.created,
        item.expires,
      ])
      return renderTable(['ID', 'User', 'Client', 'Endpoints', 'Scope', 'Since (UTC)', 'Expiry Time (UTC)'], rows, io)
    }),
  )
}

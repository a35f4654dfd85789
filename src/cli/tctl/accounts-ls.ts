import { fetchUpstreamAccounts } from '../../client/upstream-accounts.ts'
import { renderOutput } from '../../lib/output.ts'
import { renderTable } from '../../lib/table.ts'
import { formatOf } from '../../lib/output-format.ts'
import type { Context } from './context.ts'

export async function run({ call, io, withApi }: Context): Promise<void> {
  const { items: accounts } = await withApi((api) => fetchUpstreamAccounts(api, call.text('user') ?? '*'))
  const format = formatOf(call)
  if (accounts.length === 0 && format === 'text') return void io.stderr.write('Nobody has an account at an MCP server.\n')
  io.stdout.write(
    renderOutput(format, accounts, (items) => {
      const rows = items.map(({ id, user, server, issuer, scope, created }) => [id, user, server, issuer, scope, created])
      return renderTable(['ID', 'User', 'MCP server', 'Issuer', 'Scope', 'Since (UTC)'], rows, io)
    }),
  )
}

import { fetchUpstreamAccounts, removeUpstreamAccount } from '../../client/upstream-accounts.ts'
import { AppError } from '../../lib/errors.ts'
import { type Context, withConnection } from './context.ts'

export async function run(context: Context): Promise<void> {
  const name = context.call.argument('name') ?? ''
  await withConnection(context, async ({ api }) => {
    const { items } = await fetchUpstreamAccounts(api)
    const account = items.find(({ server }) => server === name)
    if (!account) throw new AppError('not_found', `you have no account at MCP server "${name}"`)
    await removeUpstreamAccount(api, account.id)
    context.io.stdout.write(`Your account at MCP server "${name}" has been forgotten.\n`)
  })
}
